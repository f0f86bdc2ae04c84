// SPDX-License-Identifier: Apache-2.0
// Which pixels a pooling's windows hold, and which windows hold a pixel.
#pragma once

#include "common/numbers.cuh"
#include "pool2d.cuh"

namespace pyvision::cuda {

// The taps of one window along one axis that lie inside the image.
struct Taps {
  int64_t first, step;
  int64_t count;
  int64_t area;  // with those in the padding
};
// Windows from `first` up to `end`.
struct WindowRange {
  int64_t first, end;
};

// One axis of a pooling.
struct Axis {
  int64_t extent, out, kernel, stride, before, after, dilation;

  __device__ Taps window(int64_t index) const {
    const int64_t start = index * stride - before;
    const int64_t skipped = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const int64_t fitting = start < extent ? (extent - start + dilation - 1) / dilation : 0;
    const int64_t end = min(kernel, fitting);
    return {start + skipped * dilation, dilation, end > skipped ? end - skipped : 0,
            min(start + kernel, extent + after) - start};
  }
  __device__ Taps adaptive_window(int64_t index) const {
    const int64_t first = index * extent / out, end = ((index + 1) * extent + out - 1) / out;
    return {first, 1, end - first, end - first};
  }
  // The windows that begin before a position and end behind it; with dilation not all of them have a tap
  // there.
  __device__ WindowRange around(int64_t position) const {
    const int64_t at = position + before, late = at - dilation * (kernel - 1);
    return {late > 0 ? (late + stride - 1) / stride : 0, min(at / stride + 1, out)};
  }
  __device__ WindowRange adaptive_around(int64_t position) const {
    return {position * out / extent, ((position + 1) * out + extent - 1) / extent};
  }
};

inline Axis rows_of(const Pool2dProblem& p) {
  const Pool2dParams& q = p.params;
  return {p.h, p.out_h, q.kernel_h, q.stride_h, q.pad_top, q.pad_bottom, q.dilation_h};
}
inline Axis columns_of(const Pool2dProblem& p) {
  const Pool2dParams& q = p.params;
  return {p.w, p.out_w, q.kernel_w, q.stride_w, q.pad_left, q.pad_right, q.dilation_w};
}

// What the sum over a window is divided by.
struct Divisor {
  bool count_include_pad;
  int64_t override;  // 0: none

  __device__ float of(const Taps& rows, const Taps& columns) const {
    const int64_t area = count_include_pad ? rows.area * columns.area : rows.count * columns.count;
    return static_cast<float>(override != 0 ? override : area);
  }
};

}  // namespace pyvision::cuda

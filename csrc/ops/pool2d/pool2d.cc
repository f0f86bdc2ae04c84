// SPDX-License-Identifier: Apache-2.0
#include "ops/pool2d/pool2d.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

template <class T>
const Pool2dKernelsOf<T>& kernels_of() {
  if constexpr (std::is_same_v<T, double>)
    return pool2d_f64_kernels();
  else
    return pool2d_kernels();
}

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// One axis of a sliding window.
struct Axis {
  int64_t in, kernel, stride, pad, dilation;

  int64_t start(int64_t out) const { return out * stride - pad; }  // of tap 0, may lie outside
  // The taps of output `out` inside [0, in); empty where dilation jumps over the image.
  Range taps(int64_t out) const {
    const int64_t first = start(out);
    const int64_t begin = first < 0 ? (-first + dilation - 1) / dilation : 0;
    const int64_t end = first >= in ? 0 : std::min(kernel, (in - first + dilation - 1) / dilation);
    return {begin, std::max(begin, end)};
  }
  // The outputs in [0, outs) all of whose taps are inside.
  Range interior(int64_t outs) const {
    const int64_t begin = std::min(outs, (pad + stride - 1) / stride);
    const int64_t last_start = in - dilation * (kernel - 1) - 1 + pad;  // in padded coordinates
    const int64_t end = last_start < 0 ? 0 : std::min(outs, last_start / stride + 1);
    return {begin, std::max(begin, end)};
  }
};

Axis vertical(const Pool2dParams& p, int64_t h) {
  return {h, p.kernel_h, p.stride_h, p.pad_top, p.dilation_h};
}
Axis horizontal(const Pool2dParams& p, int64_t w) {
  return {w, p.kernel_w, p.stride_w, p.pad_left, p.dilation_w};
}

// Calls body(out_w, rows, cols, count) for runs of `count` output pixels of row out_h whose taps are clipped
// alike: border pixels one by one, the interior at once.
template <class Body>
void for_each_run(const Axis& rows, const Axis& cols, int64_t out_h, int64_t outs, Body body) {
  const Range interior = cols.interior(outs);
  const Range row_taps = rows.taps(out_h);
  for (int64_t ow = 0; ow < interior.begin; ++ow) body(ow, row_taps, cols.taps(ow), 1);
  if (interior.size() > 0) body(interior.begin, row_taps, Range{0, cols.kernel}, interior.size());
  for (int64_t ow = interior.end; ow < outs; ++ow) body(ow, row_taps, cols.taps(ow), 1);
}

// Calls body(n, out_h) for every row of y, in parallel.
template <class T, class Body>
void for_each_row(const Nhwc<T>& y, int64_t taps, Body body) {
  if (y.pixels() * y.c == 0) return;
  const int64_t work = std::max<int64_t>(1, y.w * y.c * std::min<int64_t>(taps, 1 << 20));
  parallel_for(y.n * y.h, (1 << 17) / work, [&](int64_t begin, int64_t end) {  // about 10 us each
    for (int64_t i = begin; i < end; ++i) body(i / y.h, i % y.h);              // [0, n), [0, h)
  });
}

template <class T>
PoolWindow window_of(const Nhwc<const T>& x, const Range& rows, const Range& cols, int64_t dilation_h,
                     int64_t dilation_w) {
  return {rows.size(), cols.size(), dilation_h * x.stride_h, dilation_w * x.stride_w};
}

// The mean over whole images: sums over fixed blocks of rows side by side, then their sum. The blocks do not
// depend on the number of threads.
template <class T>
void global_average(const Nhwc<const T>& x, const Nhwc<T>& y) {
  const Pool2dKernelsOf<T>& kernels = kernels_of<T>();
  const int64_t block_rows = std::max<int64_t>(1, (1 << 16) / (x.w * x.c));  // about 5 us each
  const int64_t blocks = (x.h + block_rows - 1) / block_rows;
  const T area = static_cast<T>(x.h * x.w);
  const auto average = [&](int64_t n, int64_t first_row, int64_t rows, T* out, T divisor) {
    PoolWindow window{rows, x.w, x.stride_h, x.stride_w};
    if (x.stride_h == x.w * x.stride_w) window = {1, rows * x.w, 0, x.stride_w};
    kernels.average(window, x.at(n, first_row, 0), 0, out, 0, 1, x.c, divisor);
  };
  if (blocks == 1) {
    const int64_t grain = std::max<int64_t>(1, (1 << 16) / (x.h * x.w * x.c));
    parallel_for(x.n, grain, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) average(n, 0, x.h, y.at(n, 0, 0), area);
    });
    return;
  }
  const Scratch<T> sums(x.n * blocks * x.c);  // (n, blocks, c)
  parallel_for(x.n * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / blocks, first_row = i % blocks * block_rows;  // [0, n), [0, h)
      average(n, first_row, std::min(block_rows, x.h - first_row), sums + i * x.c, T(1));
    }
  });
  for (int64_t n = 0; n < x.n; ++n)
    kernels.average({1, blocks, 0, x.c}, sums + n * blocks * x.c, 0, y.at(n, 0, 0), 0, 1, x.c, area);
}

}  // namespace

template <class T>
void max_pool2d(const Pool2dParams& params, const Nhwc<const T>& x, const Nhwc<T>& y, int64_t* indices) {
  const Pool2dKernelsOf<T>& kernels = kernels_of<T>();
  const Axis rows = vertical(params, x.h), cols = horizontal(params, x.w);
  for_each_row(y, params.kernel_h * params.kernel_w, [&](int64_t n, int64_t oh) {
    for_each_run(rows, cols, oh, y.w, [&](int64_t ow, Range row_taps, Range col_taps, int64_t count) {
      T* out = y.at(n, oh, ow);
      int64_t* index = indices == nullptr ? nullptr : indices + ((n * y.h + oh) * y.w + ow) * y.c;
      if (row_taps.size() == 0 || col_taps.size() == 0) {
        for (int64_t p = 0; p < count; ++p) std::fill_n(out + p * y.stride_w, y.c, -INFINITY);
        if (index != nullptr) std::fill_n(index, count * y.c, -1);
        return;
      }
      const int64_t h = rows.start(oh) + row_taps.begin * params.dilation_h;  // [0, x.h)
      const int64_t w = cols.start(ow) + col_taps.begin * params.dilation_w;  // [0, x.w)
      const PoolWindow window = window_of(x, row_taps, col_taps, params.dilation_h, params.dilation_w);
      const int64_t x_step = params.stride_w * x.stride_w;
      if (index == nullptr) {
        kernels.max(window, x.at(n, h, w), x_step, out, y.stride_w, count, y.c);
        return;
      }
      const Scratch<int32_t> taps(count * y.c);
      kernels.max_with_taps(window, x.at(n, h, w), x_step, out, y.stride_w, taps, count, y.c);
      const auto width = static_cast<int32_t>(window.cols);
      for (int64_t p = 0; p < count; ++p) {
        const int64_t first = h * x.w + w + p * params.stride_w;
        for (int64_t c = 0; c < y.c; ++c) {
          const int32_t tap = taps[p * y.c + c];
          index[p * y.c + c] =
              first + tap / width * params.dilation_h * x.w + tap % width * params.dilation_w;
        }
      }
    });
  });
}

template <class T>
void avg_pool2d(const Pool2dParams& params, const Nhwc<const T>& x, const Nhwc<T>& y) {
  const Pool2dKernelsOf<T>& kernels = kernels_of<T>();
  const Axis rows = vertical(params, x.h), cols = horizontal(params, x.w);
  for_each_row(y, params.kernel_h * params.kernel_w, [&](int64_t n, int64_t oh) {
    for_each_run(rows, cols, oh, y.w, [&](int64_t ow, Range row_taps, Range col_taps, int64_t count) {
      int64_t divisor = params.divisor_override;
      if (divisor == 0 && params.count_include_pad) {
        divisor = std::min(params.kernel_h, x.h + params.pad_bottom - rows.start(oh)) *
                  std::min(params.kernel_w, x.w + params.pad_right - cols.start(ow));
      } else if (divisor == 0) {
        divisor = row_taps.size() * col_taps.size();
      }
      const int64_t h = rows.start(oh) + row_taps.begin;  // [0, x.h)
      const int64_t w = cols.start(ow) + col_taps.begin;  // [0, x.w)
      kernels.average(window_of(x, row_taps, col_taps, 1, 1), x.at(n, h, w), params.stride_w * x.stride_w,
                      y.at(n, oh, ow), y.stride_w, count, y.c, static_cast<T>(divisor));
    });
  });
}

template <class T>
void adaptive_avg_pool2d(const Nhwc<const T>& x, const Nhwc<T>& y) {
  if (y.pixels() * y.c == 0) return;
  if (y.h == 1 && y.w == 1) return global_average(x, y);
  const Pool2dKernelsOf<T>& kernels = kernels_of<T>();
  const auto range = [](int64_t out, int64_t in, int64_t outs) {
    return Range{out * in / outs, ((out + 1) * in + outs - 1) / outs};
  };
  for_each_row(y, x.h * x.w / (y.h * y.w) + 1, [&](int64_t n, int64_t oh) {
    const Range rows = range(oh, x.h, y.h);
    for (int64_t ow = 0; ow < y.w; ++ow) {
      const Range cols = range(ow, x.w, y.w);
      kernels.average(window_of(x, rows, cols, 1, 1), x.at(n, rows.begin, cols.begin), 0, y.at(n, oh, ow), 0,
                      1, y.c, static_cast<T>(rows.size() * cols.size()));
    }
  });
}

#define PYVISION_INSTANTIATE(T)                                                                  \
  template void max_pool2d(const Pool2dParams&, const Nhwc<const T>&, const Nhwc<T>&, int64_t*); \
  template void avg_pool2d(const Pool2dParams&, const Nhwc<const T>&, const Nhwc<T>&);           \
  template void adaptive_avg_pool2d(const Nhwc<const T>&, const Nhwc<T>&);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision

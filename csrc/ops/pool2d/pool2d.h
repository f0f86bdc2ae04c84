// SPDX-License-Identifier: Apache-2.0
// Pooling over windows of an image, per channel, as torch.nn.functional's:
//   max_pool2d:          y[n, oh, ow, c] = max  of x[n, oh * stride_h - pad_top  + kh * dilation_h,
//                                                      ow * stride_w - pad_left + kw * dilation_w, c]
//                        over the taps (kh, kw) inside the image; NaN if one of them is NaN.
//   avg_pool2d:          the sum of those taps (dilation 1) over a divisor: divisor_override, else the
//                        window's area clipped to the padded image, or to the image if !count_include_pad.
//   adaptive_avg_pool2d: y[n, oh, ow, c] = mean of x[n, h, w, c] over
//                        h in [floor(oh * H / H_out), ceil((oh + 1) * H / H_out)), w likewise.
//
// NHWC, any distance between pixels. Input and output must not overlap. T: float or double
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "core/tensor.h"
#include "ops/pool2d/params.h"

namespace pyvision {

// x: (n, h, w, c), y: (n, out_h, out_w, c), indices: null, or dense with y's shape: h * W + w of the maximum,
// of the last NaN where there is one, -1 where dilation made a window miss the image.
template <class T>
void max_pool2d(const Pool2dParams& params, const Nhwc<const T>& x, const Nhwc<T>& y,
                int64_t* indices = nullptr);
// x: (n, h, w, c), y: (n, out_h, out_w, c)
template <class T>
void avg_pool2d(const Pool2dParams& params, const Nhwc<const T>& x, const Nhwc<T>& y);
// x: (n, h, w, c), y: (n, any, any, c); no extent of x but n may be 0
template <class T>
void adaptive_avg_pool2d(const Nhwc<const T>& x, const Nhwc<T>& y);

// The taps of one window that lie inside the image, at least one. Strides in elements.
struct PoolWindow {
  int64_t rows, cols;
  int64_t row_stride, col_stride;
};

// One kernel call does `count` pixels of an output row whose windows are clipped alike: x is the first one's
// first tap, x_step and y_step lead to the next one's. One call does a row's interior; border pixels are
// calls of count 1.
template <class T>
struct Pool2dKernelsOf {
  const char* isa;
  void (*max)(const PoolWindow& window, const T* x, int64_t x_step, T* y, int64_t y_step, int64_t count,
              int64_t channels);
  // taps: (count, channels) dense, the number of the chosen tap in its window, row-major
  void (*max_with_taps)(const PoolWindow& window, const T* x, int64_t x_step, T* y, int64_t y_step,
                        int32_t* taps, int64_t count, int64_t channels);
  void (*average)(const PoolWindow& window, const T* x, int64_t x_step, T* y, int64_t y_step, int64_t count,
                  int64_t channels, T divisor);
};
using Pool2dKernels = Pool2dKernelsOf<float>;

PYVISION_KERNELS(Pool2dKernels, pool2d)
const Pool2dKernelsOf<double>& pool2d_f64_kernels();

}  // namespace pyvision

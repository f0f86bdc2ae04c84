// SPDX-License-Identifier: Apache-2.0
// interpolate: images resized along height and width, as torch.nn.functional.interpolate.
//   nearest:        y[oh, ow] = x[floor(oh * s), floor(ow * t)]
//   nearest-exact:  y[oh, ow] = x[floor((oh + 0.5) * s), floor((ow + 0.5) * t)]
//   bilinear:       y[oh, ow] = sum of the four pixels around (h, w) = ((oh + 0.5) * s - 0.5, (ow + 0.5) * t
//   - 0.5)
//                   weighted by 1 - distance along each axis; with align_corners (h, w) = (oh * s, ow * t)
//   bicubic:        y[oh, ow] = sum of the sixteen pixels around, weighted by Keys' kernel (a = -0.75) along
//                   each axis
//   area:           y[oh, ow] = mean of x over [floor(oh * s), ceil((oh + 1) * s)), columns likewise
//   antialias:      bilinear and bicubic (a = -0.5) kernels s times as wide where s > 1, their weights within
//                   the image normalised, around (oh + 0.5) * s - 0.5 even with align_corners
//   s = input extent / output extent, or 1 / scale where one is given; with align_corners
//   (input extent - 1) / (output extent - 1). Positions are clamped to the image. Whatever the
//   scale, equal extents have s = 1 for nearest, bilinear and antialias; and twice the input's s = 1/2 for
//   nearest.
//
// NHWC, any distance between pixels. `addend`, of y's shape, is added in the same pass. It may be y's own
// memory; x may not.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "core/tensor.h"
#include "ops/interpolate/params.h"

namespace pyvision {

// x: (n, h, w, c), addend: null or (n, any, any, c), y: (n, any, any, c); no extent but n may be 0
void interpolate(const InterpolateParams& params, const Nhwc<const float>& x, const Nhwc<const float>* addend,
                 const Nhwc<float>& y);
void interpolate(const InterpolateParams& params, const Nhwc<const double>& x,
                 const Nhwc<const double>* addend, const Nhwc<double>& y);
// Its gradient by x: the transpose. grad: as y, grad_x: as x
template <class T>
void interpolate_backward(const InterpolateParams& params, const Nhwc<const T>& grad, const Nhwc<T>& grad_x);

// Where one output column reads: offsets in elements from the row's start, and the weight of the second.
struct InterpolateColumn {
  int64_t left, right;
  float weight;
};

// One output row. columns: (count,), addend: null or a row of pixels addend_step apart.
struct InterpolateKernels {
  const char* isa;
  void (*nearest)(const float* row, const InterpolateColumn* columns, const float* addend,
                  int64_t addend_step, float* y, int64_t y_step, int64_t count, int64_t channels);
  // Two input rows blended into one; weight: of the bottom one. x_step: between their pixels, row: dense
  void (*blend_rows)(const float* top, const float* bottom, float weight, int64_t x_step, float* row,
                     int64_t count, int64_t channels);
  // One input row to one output row.
  void (*linear)(const float* row, const InterpolateColumn* columns, const float* addend, int64_t addend_step,
                 float* y, int64_t y_step, int64_t count, int64_t channels);
  // Both steps at once.
  void (*bilinear)(const float* top, const float* bottom, float weight, const InterpolateColumn* columns,
                   const float* addend, int64_t addend_step, float* y, int64_t y_step, int64_t count,
                   int64_t channels);
  // One row: the sum of the rows x + index * stride_h by weight. stride_w: between their pixels, row: dense
  void (*sum_rows)(const float* x, const int64_t* index, const float* weight, int64_t taps, int64_t stride_h,
                   int64_t stride_w, float* row, int64_t count, int64_t channels);
  // Output pixel p: the sum of the row's pixels index[k] by weight[k], k in [first[p], first[p + 1]).
  void (*sum_pixels)(const float* row, const int64_t* first, const int64_t* index, const float* weight,
                     const float* addend, int64_t addend_step, float* y, int64_t y_step, int64_t count,
                     int64_t channels);
};

PYVISION_KERNELS(InterpolateKernels, interpolate)

}  // namespace pyvision

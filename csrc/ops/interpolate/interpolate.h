// SPDX-License-Identifier: Apache-2.0
// interpolate: images resized along height and width, as torch.nn.functional.interpolate without antialias.
//   nearest:        y[oh, ow] = x[floor(oh * s), floor(ow * t)]
//   nearest-exact:  y[oh, ow] = x[floor((oh + 0.5) * s), floor((ow + 0.5) * t)]
//   bilinear:       y[oh, ow] = sum of the four pixels around (h, w) = ((oh + 0.5) * s - 0.5, (ow + 0.5) * t
//   - 0.5)
//                   weighted by 1 - distance along each axis; with align_corners (h, w) = (oh * s, ow * t)
//   s = input extent / output extent, or 1 / scale where one is given; with align_corners
//   (input extent - 1) / (output extent - 1). Positions are clamped to the image.
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
};

PYVISION_KERNELS(InterpolateKernels, interpolate)

}  // namespace pyvision

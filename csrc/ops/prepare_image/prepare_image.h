// SPDX-License-Identifier: Apache-2.0
// prepare_image: from pixels to a network's input, in one pass: resize, normalise, order the channels, lay
// out.
//
//   y[top + i, left + j, c] = (r[i, j, c] - mean[c]) / stdev[c]    inside the region, (pad - mean[c]) /
//   stdev[c] outside r[i, j]: bilinear at row (i + 1/2) H / region_h - 1/2 and column (j + 1/2) W / region_w
//   - 1/2, clamped to the
//            image: half-pixel centres, no antialiasing, the geometry of OpenCV's INTER_LINEAR, in float32
//
// Between the four taps the vertical step is taken first: v = a + wy (b - a), then r = v0 + wx (v1 - v0).
// With equal sizes both weights are 0, so r is the pixel itself, exactly.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "ops/prepare_image/params.h"

namespace pyvision {

struct PrepareImageKernels {
  const char* isa;
  // taps: the pixels up-left, up-right, down-left, down-right of each output value, (n,) each;
  // wx, mean, stdev: (n,); y: (n,); n: values in a row, pixels times channels
  void (*row)(const uint8_t* const taps[4], const float* wx, float wy, const float* mean, const float* stdev,
              float* y, int64_t n);
};

PYVISION_KERNELS(PrepareImageKernels, prepare_image)

// output: (out_h, out_w, 3), dense.
void prepare_image(const ImageView& image, const PrepareImageParams& params, float* output);

}  // namespace pyvision

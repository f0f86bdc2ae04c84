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

namespace pyvision {

struct PrepareImageKernels {
  const char* isa;
  // taps: the pixels up-left, up-right, down-left, down-right of each output value, (n,) each;
  // wx, mean, stdev: (n,); y: (n,); n: values in a row, pixels times channels
  void (*row)(const uint8_t* const taps[4], const float* wx, float wy, const float* mean, const float* stdev,
              float* y, int64_t n);
};

PYVISION_KERNELS(PrepareImageKernels, prepare_image)

struct PrepareImageParams {
  int64_t out_h = 0, out_w = 0;
  int64_t top = 0, left = 0, region_h = 0, region_w = 0;  // where the image goes
  float mean[3] = {0, 0, 0}, stdev[3] = {1, 1, 1};        // in the output's channel order
  float pad = 0;
  bool bgr = false;  // the output's order; the image is RGB
};

// 8-bit pixels with any strides, in bytes. channels: 1 (grey, repeated), 3 (RGB) or 4 (the fourth is not
// read).
struct ImageView {
  const uint8_t* data;
  int64_t h, w, channels;
  int64_t stride_h, stride_w, stride_c;
};

// output: (out_h, out_w, 3), dense.
void prepare_image(const ImageView& image, const PrepareImageParams& params, float* output);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// What detectors do to a picture before they look at it: csrc/ops/grey_filters/grey_filters.h on the device,
// to the bit.
#pragma once

#include "common/device.h"
#include "features/levels.cuh"

namespace pyvision::cuda {

struct ColorPicture {
  const void* data = nullptr;  // (h, w, channels): bytes, or floats on the scale 0 to 255
  bool floats = false;
  int64_t h = 0, w = 0;
  int channels = 1;  // 1: grey; 3, or 4 with alpha: RGB
};

// y: (h, w). Floats are rounded and clipped; NaN counts as 0.
void to_grey(const char* op, const Stream& stream, const ColorPicture& picture, uint8_t* y);

// The same of floats that stay floats: clipped to [-1e4, 1e4] alone, NaN becomes 0. picture: of floats
void to_float_grey(const char* op, const Stream& stream, const ColorPicture& picture, float* y);

void resize_grey(const char* op, const Stream& stream, const Level& x, const Level& y);

// Each level of x into that of y.
void blur_grey(const char* op, const Stream& stream, const Levels& x, const Levels& y);

}  // namespace pyvision::cuda

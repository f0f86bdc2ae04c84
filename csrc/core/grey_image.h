// SPDX-License-Identifier: Apache-2.0
// A grey picture, and what was found in it: what feature detectors take and give.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pyvision {

struct GreyImage {
  const uint8_t* data = nullptr;  // (h, w), neighbours along a row are neighbours in memory
  int64_t h = 0, w = 0, stride = 0;

  const uint8_t* row(int64_t y) const { return data + y * stride; }
};

// Where keypoints may lie: pixels that are not 0; without data everywhere.
using PixelMask = GreyImage;

// Whether the mask forbids the pixel nearest to a point in it or half a pixel beside it.
inline bool is_masked(const PixelMask& mask, float x, float y) {
  if (mask.data == nullptr) return false;
  const auto nearest = [](float value, int64_t extent) {
    return std::min(static_cast<int64_t>(std::max(value, 0.0f) + 0.5f), extent - 1);
  };
  return mask.row(nearest(y, mask.h))[nearest(x, mask.w)] == 0;
}

// Where index i of an axis lies once the axis is mirrored at both its ends, which are not repeated.
inline int64_t mirrored(int64_t i, int64_t extent) {
  if (extent == 1) return 0;
  while (i < 0 || i >= extent) i = i < 0 ? -i : 2 * (extent - 1) - i;
  return i;
}

struct Keypoint {
  float x, y, size, angle, response;
  int32_t octave;
};

}  // namespace pyvision

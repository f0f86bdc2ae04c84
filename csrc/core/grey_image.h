// SPDX-License-Identifier: Apache-2.0
// A grey picture, and what was found in it: what feature detectors take and give.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "core/counting_sort.h"

namespace pyvision {

struct GreyImage {
  const uint8_t* data = nullptr;  // (h, w), neighbours along a row are neighbours in memory
  int64_t h = 0, w = 0, stride = 0;

  const uint8_t* row(int64_t y) const { return data + y * stride; }
};

// A grey picture of bytes or of floats on the same scale, 0 to 255.
struct AnyImage {
  const uint8_t* bytes = nullptr;  // (h, w) as above; nullptr where there are floats
  const float* floats = nullptr;
  int64_t h = 0, w = 0, stride = 0;

  float at(int64_t y, int64_t x) const {
    return bytes != nullptr ? static_cast<float>(bytes[y * stride + x]) : floats[y * stride + x];
  }
  // out: (w,)
  void read(int64_t y, float* out) const {
    if (bytes == nullptr)
      std::copy_n(floats + y * stride, w, out);
    else
      std::copy_n(bytes + y * stride, w, out);
  }
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

// The indices of keypoints as one reads, in lines of 64 rows of a picture of h by w: in that order each finds
// in the cache what the one before has read.
template <class K>
std::vector<int64_t> in_reading_order(const K* keypoints, int64_t n, int64_t h, int64_t w) {
  constexpr int64_t kRows = 64, kColumns = 16;
  const int64_t places = (w + kColumns - 1) / kColumns;
  const auto place = [=](int64_t i) {
    const K& k = keypoints[i];
    const auto inside = [](float value, int64_t extent) {
      return static_cast<int64_t>(std::min(std::max(value, 0.0f), static_cast<float>(extent - 1)));
    };
    return inside(k.y, h) / kRows * places + inside(k.x, w) / kColumns;
  };
  std::vector<int64_t> all(static_cast<size_t>(n)), order(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), int64_t{0});
  counting_sort(all, (h + kRows - 1) / kRows * places, place, order.data());
  return order;
}

}  // namespace pyvision

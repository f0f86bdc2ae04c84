// SPDX-License-Identifier: Apache-2.0
// Bilinear samples of an NHWC map, zero outside the image: each of the four pixels around (y, x) weighs
// (1 - |its y - y|) (1 - |its x - x|), and those beyond the border are zero.
#pragma once

#include "common/numbers.cuh"

namespace pyvision::cuda {

// Where a sample reads, and with what weights.
struct BilinearPoint {
  int y, x;          // of the upper left pixel: [-1, h) x [-1, w)
  float weights[4];  // upper left, upper right, lower left, lower right; 0 for pixels outside

  // False where all four are outside; also for coordinates that are not finite.
  __device__ __forceinline__ bool locate(float at_y, float at_x, int h, int w) {
    if (!(at_y > -1 && at_y < static_cast<float>(h) && at_x > -1 && at_x < static_cast<float>(w)))
      return false;
    const float top = floorf(at_y), left = floorf(at_x), down = at_y - top, right = at_x - left;
    y = static_cast<int>(top);
    x = static_cast<int>(left);
    const float rows[2] = {y >= 0 ? 1 - down : 0, y + 1 < h ? down : 0};
    const float columns[2] = {x >= 0 ? 1 - right : 0, x + 1 < w ? right : 0};
    for (int i = 0; i < 4; ++i) weights[i] = rows[i / 2] * columns[i % 2];
    return true;
  }
};

// kVec neighbouring channels at a point. image: (h, w, stride) from the first of them on; to: added to.
template <int kVec, class T>
__device__ __forceinline__ void add_sample(const T* image, int w, int64_t stride, const BilinearPoint& point,
                                           float scale, float (&to)[kVec]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (point.weights[i] == 0) continue;  // outside: not to be read
    float pixel[kVec];
    load_floats<kVec>(image + (int64_t{point.y + i / 2} * w + point.x + i % 2) * stride, pixel);
    const float weight = point.weights[i] * scale;
#pragma unroll
    for (int c = 0; c < kVec; ++c) to[c] = fmaf(weight, pixel[c], to[c]);
  }
}

// The value at a point, and how it changes with the point.
struct SampleSlopes {
  float value, by_y, by_x;
};
// One channel at a point, `down` and `right` of its upper left pixel. image: as above
template <class T>
__device__ __forceinline__ SampleSlopes sample_slopes(const T* image, int h, int w, int64_t stride,
                                                      const BilinearPoint& point, float down, float right) {
  float value[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int y = point.y + i / 2, x = point.x + i % 2;
    const bool inside = y >= 0 && y < h && x >= 0 && x < w;
    value[i] = inside ? to_float(image[(int64_t{y} * w + x) * stride]) : 0;
  }
  const float left_change = value[2] - value[0], right_change = value[3] - value[1];
  const float top_change = value[1] - value[0], bottom_change = value[3] - value[2];
  const float top = value[0] + right * top_change, bottom = value[2] + right * bottom_change;
  return {top + down * (bottom - top), left_change + right * (right_change - left_change),
          top_change + down * (bottom_change - top_change)};
}

}  // namespace pyvision::cuda

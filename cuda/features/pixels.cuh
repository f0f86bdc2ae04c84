// SPDX-License-Identifier: Apache-2.0
// Pixels and keypoints, one by one.
#pragma once

#include <cuda_runtime.h>

#include "features/levels.cuh"

namespace pyvision::cuda {

// Where index i of an axis lies once the axis is mirrored at both its ends, which are not repeated.
__device__ inline int mirrored_index(int i, int extent) {
  if (extent == 1) return 0;
  while (i < 0 || i >= extent) i = i < 0 ? -i : 2 * (extent - 1) - i;
  return i;
}

// Whether the mask allows the pixel nearest to a point in it or half a pixel beside it.
__device__ inline bool is_allowed(const Allowed& mask, float x, float y) {
  if (mask.data == nullptr) return true;
  const int column = min(static_cast<int>(fmaxf(x, 0.0f) + 0.5f), mask.w - 1);
  const int row = min(static_cast<int>(fmaxf(y, 0.0f) + 0.5f), mask.h - 1);
  return mask.data[int64_t{row} * mask.w + column] != 0;
}

__device__ inline void put_keypoint(const KeypointColumns& keypoints, int64_t i, float x, float y, float size,
                                    float angle, float response, int32_t octave) {
  reinterpret_cast<float2*>(keypoints.xy)[i] = make_float2(x, y);
  keypoints.size[i] = size;
  keypoints.angle[i] = angle;
  keypoints.response[i] = response;
  keypoints.octave[i] = octave;
}

}  // namespace pyvision::cuda

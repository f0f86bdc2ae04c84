// SPDX-License-Identifier: Apache-2.0
// Directions of gradients, as csrc/simd/direction-inl.h has them.
#pragma once

#include <cuda_runtime.h>

namespace pyvision::cuda {

// Degrees in [0, 360) of (x, y), within 1e-3.
__device__ inline float direction(float x, float y) {
  const float ax = fabsf(x), ay = fabsf(y);
  const float t = fminf(ax, ay) / fmaxf(fmaxf(ax, ay), 1e-30f), s = t * t;
  float p = 0.0208351f;
  p = fmaf(p, s, -0.0851330f);
  p = fmaf(p, s, 0.1801410f);
  p = fmaf(p, s, -0.3302995f);
  p = fmaf(p, s, 0.9998660f);
  float angle = p * t * 57.2957795f;
  if (ax < ay) angle = 90 - angle;
  if (x < 0) angle = 180 - angle;
  if (y < 0) angle = 360 - angle;
  return angle < 360 ? angle : 0;
}

}  // namespace pyvision::cuda

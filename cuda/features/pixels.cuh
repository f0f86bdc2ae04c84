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

// The second derivatives of a parabola in three variables.
struct Curvature {
  double xx, xy, xs, yy, ys, ss;
};

// From where the gradient is (dx, dy, ds) to where it vanishes, as Symmetric3 of core/grey_image.h has it.
// Returns the longest of the three, or NaN where there is no such place.
__device__ inline double step_to_extremum(const Curvature& c, double dx, double dy, double ds,
                                          double step[3]) {
  const double c00 = c.yy * c.ss - c.ys * c.ys, c01 = c.xs * c.ys - c.xy * c.ss,
               c02 = c.xy * c.ys - c.yy * c.xs;
  const double c11 = c.xx * c.ss - c.xs * c.xs, c12 = c.xy * c.xs - c.xx * c.ys,
               c22 = c.xx * c.yy - c.xy * c.xy;
  const double det = c.xx * c00 + c.xy * c01 + c.xs * c02;
  step[0] = -(c00 * dx + c01 * dy + c02 * ds) / det;
  step[1] = -(c01 * dx + c11 * dy + c12 * ds) / det;
  step[2] = -(c02 * dx + c12 * dy + c22 * ds) / det;
  if (step[0] != step[0]) return step[0];
  return fmax(fmax(fabs(step[0]), fabs(step[1])), fabs(step[2]));
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

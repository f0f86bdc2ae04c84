// SPDX-License-Identifier: Apache-2.0
// Keys' cubic convolution with a = -3/4: csrc/simd/cubic-inl.h, on the device.
#pragma once

namespace pyvision::cuda {

constexpr float kCubic = -0.75f;

__device__ __forceinline__ float cubic_near(float x) { return ((kCubic + 2) * x - (kCubic + 3)) * x * x + 1; }
__device__ __forceinline__ float cubic_far(float x) {
  return ((kCubic * x - 5 * kCubic) * x + 8 * kCubic) * x - 4 * kCubic;
}

// Of four neighbours of a position that lies f behind the second.
__device__ __forceinline__ void cubic_weights(float f, float (&weight)[4]) {
  weight[0] = cubic_far(1 + f), weight[1] = cubic_near(f);
  weight[2] = cubic_near(1 - f), weight[3] = cubic_far(2 - f);
}

// Their derivatives by f.
__device__ __forceinline__ void cubic_slopes(float f, float (&slope)[4]) {
  const auto near = [](float x) { return (3 * (kCubic + 2) * x - 2 * (kCubic + 3)) * x; };
  const auto far = [](float x) { return (3 * kCubic * x - 10 * kCubic) * x + 8 * kCubic; };
  slope[0] = far(1 + f), slope[1] = near(f), slope[2] = -near(1 - f), slope[3] = -far(2 - f);
}

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
// Numbers as the unsigned integers that sort like them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pyvision::cuda {

// Rises as the number falls. Adding zero turns -0 into +0, which ties with it.
__device__ inline uint32_t falling_key(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0f);
  return bits >> 31 ? bits : ~(bits | 0x80000000u);
}
__device__ inline uint64_t falling_key(double x) {
  const auto bits = static_cast<uint64_t>(__double_as_longlong(x + 0.0));
  return bits >> 63 ? bits : ~(bits | uint64_t{1} << 63);
}

// Rises with the number; and the number again.
__device__ inline uint32_t rising_key(float x) { return ~falling_key(x); }
__device__ inline float of_rising_key(uint32_t key) {
  return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key);
}

}  // namespace pyvision::cuda

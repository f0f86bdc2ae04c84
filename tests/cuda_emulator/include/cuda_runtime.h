// SPDX-License-Identifier: Apache-2.0
// The part of CUDA C++ that kernels use, for a host compiler: see ../README.md.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda_emulator/runtime.h"

// Qualifiers. All threads of a block run on one thread of the operating system, so that its thread-local
// variables are what they share.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static thread_local
#define __grid_constant__

using dim3 = cuda_emulator::Dim3;
using cudaStream_t = void*;

#define threadIdx (::cuda_emulator::coordinates().thread_idx)
#define blockIdx (::cuda_emulator::coordinates().block_idx)
#define blockDim (::cuda_emulator::coordinates().block_dim)
#define gridDim (::cuda_emulator::coordinates().grid_dim)
constexpr int warpSize = 32;

// Vectors, aligned as CUDA aligns them: one access moves all of it.
#define CUDA_EMULATOR_VECTORS(T, name, align2, align4)       \
  struct alignas(align2) name##2 { T x, y; };                \
  struct alignas(align4) name##4 { T x, y, z, w; };          \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_EMULATOR_VECTORS(float, float, 8, 16)
CUDA_EMULATOR_VECTORS(int, int, 8, 16)
CUDA_EMULATOR_VECTORS(unsigned, uint, 8, 16)
CUDA_EMULATOR_VECTORS(double, double, 16, 16)
#undef CUDA_EMULATOR_VECTORS

// Arithmetic.
template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
namespace cuda_emulator {
template <class To, class From>
To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "as many bits");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace cuda_emulator
inline unsigned __float_as_uint(float x) { return cuda_emulator::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return cuda_emulator::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return cuda_emulator::bit_cast<float>(x); }
inline float __int_as_float(int x) { return cuda_emulator::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return cuda_emulator::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return cuda_emulator::bit_cast<double>(x); }

// Memory.
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Barriers. The default argument is the place of the call.
inline void __syncthreads(cuda_emulator::Location at = cuda_emulator::Location::here()) {
  cuda_emulator::barrier(false, at);
}
inline int __syncthreads_count(int p, cuda_emulator::Location at = cuda_emulator::Location::here()) {
  return cuda_emulator::barrier(p != 0, at).count;
}
inline int __syncthreads_or(int p, cuda_emulator::Location at = cuda_emulator::Location::here()) {
  return cuda_emulator::barrier(p != 0, at).count > 0;
}
inline int __syncthreads_and(int p, cuda_emulator::Location at = cuda_emulator::Location::here()) {
  const cuda_emulator::BarrierResult result = cuda_emulator::barrier(p != 0, at);
  return result.count == result.total;
}

#include "cuda_emulator/atomics.h"
#include "cuda_emulator/warp.h"

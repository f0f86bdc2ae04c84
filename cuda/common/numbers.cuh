// SPDX-License-Identifier: Apache-2.0
// Storage types and the floats that kernels compute with; accesses of 16 bytes; activations.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "core/activation.h"
#include "core/tensor.h"

namespace pyvision::cuda {

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ __half from_float<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

template <class T>
constexpr int kPack = 16 / static_cast<int>(sizeof(T));  // items in one access

// Whether rows of so many items may be moved 16 bytes at a time: they are made of such packs, and so is what
// lies before them. Null is an array without rows.
template <class T, class... Arrays>
bool in_packs(int64_t items, const Arrays*... arrays) {
  return items % kPack<T> == 0 && (... && (reinterpret_cast<uintptr_t>(arrays) % 16 == 0));
}

// run(T{}) of the type that is stored: kF32, kF16 or kBf16.
template <class Run>
void with_float(DType dtype, Run run) {
  if (dtype == DType::kF16) return run(__half{});
  if (dtype == DType::kBf16) return run(__nv_bfloat16{});
  run(0.0f);
}

// x: kVec items at a multiple of 16 bytes, or one item.
template <int kVec, class T>
__device__ __forceinline__ void load_floats(const T* x, float (&to)[kVec]) {
  if constexpr (kVec == 1) {
    to[0] = to_float(*x);
  } else {
    static_assert(kVec == kPack<T>, "one item, or 16 bytes of them");
    const uint4 raw = __ldg(reinterpret_cast<const uint4*>(x));
    T items[kVec];
    memcpy(items, &raw, sizeof raw);
    for (int i = 0; i < kVec; ++i) to[i] = to_float(items[i]);
  }
}

template <int kVec, class T>
__device__ __forceinline__ void store_floats(const float (&from)[kVec], T* y) {
  if constexpr (kVec == 1) {
    *y = from_float<T>(from[0]);
  } else {
    T items[kVec];
    for (int i = 0; i < kVec; ++i) items[i] = from_float<T>(from[i]);
    uint4 raw;
    memcpy(&raw, items, sizeof raw);
    *reinterpret_cast<uint4*>(y) = raw;
  }
}

// load_floats and store_floats of kVec items, which may be several packs.
template <int kVec, class T>
__device__ __forceinline__ void load_packs(const T* x, float (&to)[kVec]) {
  constexpr int kPart = kVec < kPack<T> ? kVec : kPack<T>;
  for (int i = 0; i < kVec; i += kPart) {
    float part[kPart];
    load_floats<kPart>(x + i, part);
    for (int j = 0; j < kPart; ++j) to[i + j] = part[j];
  }
}
template <int kVec, class T>
__device__ __forceinline__ void store_packs(const float (&from)[kVec], T* y) {
  constexpr int kPart = kVec < kPack<T> ? kVec : kPack<T>;
  for (int i = 0; i < kVec; i += kPart) {
    float part[kPart];
    for (int j = 0; j < kPart; ++j) part[j] = from[i + j];
    store_floats<kPart>(part, y + i);
  }
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ float hard_sigmoid(float x, float sixth) {
  return fmaxf(0.0f, fminf(6.0f, x + 3.0f)) * sixth;
}

// The same branch in every thread. Formulas: torch.nn.functional's.
__device__ __forceinline__ float activate(const ActivationParams& params, float x) {
  switch (params.kind) {
    case Activation::kRelu:
      return x > 0 || x != x ? x : 0.0f;
    case Activation::kRelu6:
      return x != x ? x : fmaxf(0.0f, fminf(6.0f, x));
    case Activation::kLeakyRelu:
      return x < 0 ? x * params.slope : x;
    case Activation::kHardSigmoid:
      return hard_sigmoid(x, params.sixth);
    case Activation::kHardSwish:
      return x * hard_sigmoid(x, params.sixth);
    case Activation::kSigmoid:
      return sigmoid(x);
    case Activation::kSilu:
      return x * sigmoid(x);
    case Activation::kTanh:
      return tanhf(x);
    case Activation::kGelu:
      return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case Activation::kNone:
      break;
  }
  return x;
}

}  // namespace pyvision::cuda

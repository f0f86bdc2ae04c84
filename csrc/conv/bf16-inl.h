// SPDX-License-Identifier: Apache-2.0
// Products of bf16 values, summed in f32: with AVX512_BF16's instruction, elsewhere as products of floats
// that were rounded to bf16.
//
// The instruction takes a pair of values a word, adds their products one after the other, each sum rounded to
// nearest even, and takes subnormals for zeros; neither rounding mode nor flags of the thread matter to it.
#pragma once

#include "conv/direct-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// T: what input, residual and output are stored as, float or Bf16.
template <class T>
using Bf16Conv = DirectConvOf<T, EpilogueTo<T>>;

#if defined(__AVX512BF16__)

struct Bf16Product {
  using Value = Bf16;
  using Sum = F32;
  static constexpr int kDepth = 2;
  static F32 dot(F32 a, F32 b, F32 sum) {
    return {_mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
  }
  static Bf16 value(float x) {
    Bf16 rounded;
    store_as_n(F32::set(x), &rounded, 1);
    return rounded;
  }
};

template <class T>
struct CopyToBf16 {
  using Job = Bf16Conv<T>;
  using Product = Bf16Product;
  using Source = T;
  static constexpr bool kVerbatim = std::is_same_v<T, Bf16>;

  explicit CopyToBf16(const Job&) {}
  static void copy(const Bf16* from, Bf16* to, int64_t n, const Bf16* limit) {
    copy_bytes(from, to, n * static_cast<int64_t>(sizeof(Bf16)), limit);
  }
  static void copy(const float* from, Bf16* to, int64_t n, const float*) {
    constexpr int kLanes = F32::kLanes;
    int64_t i = 0;
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
      const __m512bh both = _mm512_cvtne2ps_pbh(F32::load(from + i + kLanes).v,
                                                F32::load(from + i).v);  // the first is the upper
      _mm512_storeu_si512(to + i, reinterpret_cast<__m512i>(both));
    }
    for_each_vector<float>(
        n - i, [&](int64_t j, int lanes) { store_as_n(load_f32_n(from + i + j, lanes), to + i + j, lanes); });
  }
  static constexpr bool pads_with_zeros() { return true; }
  static void pad(Bf16* to, int64_t n) { __builtin_memset(to, 0, static_cast<size_t>(n) * sizeof(Bf16)); }
};

#else

struct Bf16Product : F32Product {
  static float value(float x) {
    float rounded;
    round_to_bf16(F32::set(x)).store_n(&rounded, 1);
    return rounded;
  }
};

template <class T>
struct CopyToBf16 {
  using Job = Bf16Conv<T>;
  using Product = F32Product;
  using Source = T;
  static constexpr bool kVerbatim = false;

  explicit CopyToBf16(const Job&) {}
  static void copy(const T* from, float* to, int64_t n, const T*) {
    for_each_vector<float>(n, [&](int64_t i, int lanes) {
      store_lanes(round_to_bf16(load_f32_n(from + i, lanes)), to + i, lanes);
    });
  }
  static constexpr bool pads_with_zeros() { return true; }
  static void pad(float* to, int64_t n) { zero_floats(to, n); }
};

#endif

inline void pack_bf16(const float* weight, int64_t out_channels, int64_t taps, int64_t channels,
                      int64_t stride_o, int64_t stride_tap, int64_t stride_i, float* packed) {
  pack_panels<Bf16Product>(weight, out_channels, taps, channels, stride_o, stride_tap, stride_i, packed,
                           Bf16Product::value);
}

}  // namespace pyvision::PYVISION_ISA_NS

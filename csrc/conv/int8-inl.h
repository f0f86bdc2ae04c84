// SPDX-License-Identifier: Apache-2.0
// Products of u8 and s8 values, summed in i32: four a lane with AVX512_VNNI's instruction, elsewhere two a
// lane, widened to int16 first, because the older u8 x s8 instruction saturates.
#pragma once

#include "conv/direct-inl.h"
#include "conv/int8.h"

namespace pyvision::PYVISION_ISA_NS {

#if defined(__AVX512VNNI__)

struct Int8Product {
  using Value = uint8_t;  // in B the bits of an int8
  using Sum = I32;
  static constexpr int kDepth = 4;
  static I32 dot(F32 a, F32 b, I32 sum) {
    return {_mm512_dpbusd_epi32(sum.v, bits_as_i32(a).v, bits_as_i32(b).v)};
  }
};

#else

struct Int8Product {
  using Value = int16_t;
  using Sum = I32;
  static constexpr int kDepth = 2;
  static I32 dot(F32 a, F32 b, I32 sum) { return sum + multiply_pairs(bits_as_i32(a), bits_as_i32(b)); }
};

#endif

template <class Out>
struct CopyInt8 {
  using Job = Int8Conv<Out>;
  using Product = Int8Product;
  using Source = uint8_t;
  using Value = Product::Value;
  static constexpr bool kVerbatim = sizeof(Value) == sizeof(Source);

  uint8_t zero_point;

  explicit CopyInt8(const Job& job) : zero_point(job.input_zero_point) {}
  bool pads_with_zeros() const { return zero_point == 0; }
  void copy(const uint8_t* from, Value* to, int64_t n, const uint8_t* limit) const {
    if constexpr (kVerbatim)
      copy_bytes(from, to, n, limit);
    else
      for (int64_t i = 0; i < n; ++i) to[i] = from[i];
  }
  void pad(Value* to, int64_t n) const {
    for (int64_t i = 0; i < n; ++i) to[i] = zero_point;
  }
};

// By 1 as a rule, which costs a division no less than any other.
template <int MR, int NV>
[[gnu::always_inline]] inline void divide_tile(F32 (&y)[MR][NV], float divisor) {
  if (divisor == 1.0f) return;
  const F32 by = F32::set(divisor);
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) y[r][v] = y[r][v] / by;
  }
}

// Rounded half to even; in [0, 255].
template <int MR, int NV>
[[gnu::always_inline]] inline void quantize_tile(F32 (&y)[MR][NV], float divisor, float zero_point) {
  const F32 zero = F32::set(zero_point);
  const F32 low = F32::set(0.0f - zero_point), high = F32::set(255.0f - zero_point);
  divide_tile(y, divisor);
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) y[r][v] = round(max(min(y[r][v], high), low)) + zero;
  }
}

template <int MR, int NV, class Out>
[[gnu::always_inline]] inline void finish_tile(I32 (&acc)[MR][NV],
                                               const TileOutputOf<RequantizeTo<Out>>& out) {
  if (!out.last) return store_sums(acc, out);
  F32 y[MR][NV];
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) {
    const F32 scale = F32::load(out.scale + out.column + v * F32::kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) y[r][v] = to_f32(acc[r][v]) * scale;
  }
  finish_before_rounding(y, out.activation);
  if constexpr (std::is_same_v<Out, uint8_t>) quantize_tile(y, out.divisor, out.zero_point);
  store_tile(y, out.row, out.column, out.columns);
}

inline void pack_int8(const int8_t* weight, int64_t out_channels, int64_t taps, int64_t channels,
                      float* packed) {
  pack_panels<Int8Product>(weight, out_channels, taps, channels, taps * channels, 1, taps, packed,
                           [](int8_t w) { return static_cast<Int8Product::Value>(w); });
}

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
// One lane per vector: the portable body, and the reference for the other two.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define PYVISION_ISA_NS scalar

namespace pyvision::scalar {

template <class T>
struct Vec;
struct Mask {
  bool m;
};

template <>
struct Vec<int32_t> {
  static constexpr int kLanes = 1;
  int32_t v;
  static Vec set(int32_t x) { return {x}; }
  static Vec zero() { return {0}; }
  static Vec load(const int32_t* p) { return {*p}; }
  static Vec load_u8_n(const uint8_t* p, int n) { return {n > 0 ? *p : 0}; }
  static Vec load_u16(const uint16_t* p) { return {*p}; }
  static Vec load_u16_n(const uint16_t* p, int n) { return {n > 0 ? *p : 0}; }
  void store(int32_t* p) const { *p = v; }
  void store_u16(uint16_t* p) const { *p = static_cast<uint16_t>(v); }
  void store_u16_n(uint16_t* p, int n) const {
    if (n > 0) store_u16(p);
  }
  void store_u8(uint8_t* p) const { *p = static_cast<uint8_t>(v); }
  void store_u8_n(uint8_t* p, int n) const {
    if (n > 0) store_u8(p);
  }
};
using I32 = Vec<int32_t>;
// Sums wrap, as those of the vector instructions do.
inline I32 operator+(I32 a, I32 b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) + static_cast<uint32_t>(b.v))};
}
inline I32 operator-(I32 a, I32 b) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) - static_cast<uint32_t>(b.v))};
}
inline I32 operator&(I32 a, I32 b) { return {a.v & b.v}; }
inline I32 operator|(I32 a, I32 b) { return {a.v | b.v}; }

template <>
struct Vec<float> {
  static constexpr int kLanes = 1;
  static constexpr const char* kIsaName = "scalar";
  float v;
  static Vec zero() { return {0.0f}; }
  static Vec set(float x) { return {x}; }
  static Vec iota() { return {0.0f}; }
  static Vec load(const float* p) { return {*p}; }
  static Vec load_n(const float* p, int n) { return {n > 0 ? *p : 0.0f}; }
  static Vec load_u8(const uint8_t* p) { return {static_cast<float>(*p)}; }
  static Vec load_u8_n(const uint8_t* p, int n) { return {n > 0 ? static_cast<float>(*p) : 0.0f}; }
  void store(float* p) const { *p = v; }
  void store_n(float* p, int n) const {
    if (n > 0) *p = v;
  }
};
using F32 = Vec<float>;
inline F32 operator+(F32 a, F32 b) { return {a.v + b.v}; }
inline F32 operator-(F32 a, F32 b) { return {a.v - b.v}; }
inline F32 operator*(F32 a, F32 b) { return {a.v * b.v}; }
inline F32 operator/(F32 a, F32 b) { return {a.v / b.v}; }
inline F32 operator-(F32 a) { return {-a.v}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {a.v * b.v + c.v}; }  // not fused: no FMA in the baseline
// min and max return the second argument when either is NaN, like the x86 instructions.
inline F32 min(F32 a, F32 b) { return {a.v < b.v ? a.v : b.v}; }
inline F32 max(F32 a, F32 b) { return {a.v > b.v ? a.v : b.v}; }
inline F32 abs(F32 a) { return {__builtin_fabsf(a.v)}; }
inline F32 sqrt(F32 a) { return {__builtin_sqrtf(a.v)}; }
inline F32 floor(F32 a) { return {__builtin_floorf(a.v)}; }
inline F32 round(F32 a) { return {__builtin_nearbyintf(a.v)}; }   // half to even
inline I32 to_i32(F32 a) { return {static_cast<int32_t>(a.v)}; }  // truncates; in range only
inline F32 to_f32(I32 a) { return {static_cast<float>(a.v)}; }
inline F32 bits_as_f32(I32 a) {
  F32 r;
  std::memcpy(&r.v, &a.v, 4);
  return r;
}
inline I32 bits_as_i32(F32 a) {
  I32 r;
  std::memcpy(&r.v, &a.v, 4);
  return r;
}
template <int kBits>
inline I32 shift_left(I32 a) {
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) << kBits)};
}
template <int kBits>
inline I32 shift_right(I32 a) {  // zeros come in
  return {static_cast<int32_t>(static_cast<uint32_t>(a.v) >> kBits)};
}
// Lanes are pairs of int16, low and high half: the sum of their two products.
inline I32 multiply_pairs(I32 a, I32 b) {
  const auto low = [](I32 x) { return static_cast<int32_t>(static_cast<int16_t>(x.v & 0xffff)); };
  return {low(a) * low(b) + (a.v >> 16) * (b.v >> 16)};
}
inline Mask operator<(F32 a, F32 b) { return {a.v < b.v}; }
inline Mask operator<=(F32 a, F32 b) { return {a.v <= b.v}; }
inline Mask operator==(F32 a, F32 b) { return {a.v == b.v}; }
inline Mask is_nan(F32 a) { return {a.v != a.v}; }
inline Mask operator&(Mask a, Mask b) { return {a.m && b.m}; }
inline Mask operator|(Mask a, Mask b) { return {a.m || b.m}; }
inline F32 select(Mask m, F32 a, F32 b) { return m.m ? a : b; }
inline uint32_t bits(Mask m) { return m.m; }
inline float reduce_add(F32 a) { return a.v; }
inline float reduce_max(F32 a) { return a.v; }
inline float reduce_min(F32 a) { return a.v; }

// The lanes of a and b that stand at even places, and those at odd ones.
inline void deinterleave(I32 a, I32 b, I32* even, I32* odd) {
  *even = a;
  *odd = b;
}

// Each lane with those before it; all: the last of these sums, in every lane
inline I32 prefix_sum(I32 a, I32* all) { return *all = a; }

// The lanes behind the first of a, then b's first; a's last, then b's lanes before the last.
inline F32 move_down(F32, F32 b) { return b; }
inline F32 move_up(F32 a, F32) { return a; }

// Lane l is lane index[l] of a.
inline F32 permute(F32 a, I32) { return a; }

// rows[i] lane j becomes rows[j] lane i.
inline void transpose(F32 (&)[1]) {}

}  // namespace pyvision::scalar

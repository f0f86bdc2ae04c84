// SPDX-License-Identifier: Apache-2.0
// Sixteen f32 lanes: AVX-512 F, BW, DQ, VL.
#pragma once

// GCC 12's own intrinsics pass undefined registers on purpose, and warn of it where they are inlined.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstdint>

// A file for an extension of AVX-512 names a namespace of its own before it includes this one.
#ifndef PYVISION_ISA_NS
#define PYVISION_ISA_NS avx512
#endif
#define PYVISION_TEXT_OF(name) #name
#define PYVISION_NAME(name) PYVISION_TEXT_OF(name)

namespace pyvision::PYVISION_ISA_NS {

template <class T>
struct Vec;
struct Mask {
  __mmask16 m;
};

// Lanes below n are set.
inline __mmask16 lane_mask(int n) { return n >= 16 ? 0xffff : static_cast<__mmask16>((1u << n) - 1); }

template <>
struct Vec<int32_t> {
  static constexpr int kLanes = 16;
  __m512i v;
  static Vec set(int32_t x) { return {_mm512_set1_epi32(x)}; }
  static Vec zero() { return {_mm512_setzero_si512()}; }
  static Vec load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  static Vec load_u8_n(const uint8_t* p, int n) {
    return {_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lane_mask(n), p))};
  }
  static Vec load_u16(const uint16_t* p) { return load_u16_n(p, kLanes); }
  static Vec load_u16_n(const uint16_t* p, int n) {
    return {_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lane_mask(n), p))};
  }
  void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
  // Lanes in [0, 2^16) and [0, 2^8).
  void store_u16(uint16_t* p) const { store_u16_n(p, kLanes); }
  void store_u16_n(uint16_t* p, int n) const {
    _mm256_mask_storeu_epi16(p, lane_mask(n), _mm512_cvtepi32_epi16(v));
  }
  void store_u8(uint8_t* p) const { store_u8_n(p, kLanes); }
  void store_u8_n(uint8_t* p, int n) const { _mm_mask_storeu_epi8(p, lane_mask(n), _mm512_cvtepi32_epi8(v)); }
};
using I32 = Vec<int32_t>;
inline I32 operator+(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I32 operator-(I32 a, I32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline I32 operator&(I32 a, I32 b) { return {_mm512_and_si512(a.v, b.v)}; }
inline I32 operator|(I32 a, I32 b) { return {_mm512_or_si512(a.v, b.v)}; }
// Lanes are pairs of int16, low and high half: the sum of their two products.
inline I32 multiply_pairs(I32 a, I32 b) { return {_mm512_madd_epi16(a.v, b.v)}; }

template <>
struct Vec<float> {
  static constexpr int kLanes = 16;
  static constexpr const char* kIsaName = PYVISION_NAME(PYVISION_ISA_NS);
  __m512 v;
  static Vec zero() { return {_mm512_setzero_ps()}; }
  static Vec set(float x) { return {_mm512_set1_ps(x)}; }
  static Vec iota() { return {_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)}; }
  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vec load_n(const float* p, int n) { return {_mm512_maskz_loadu_ps(lane_mask(n), p)}; }
  static Vec load_u8(const uint8_t* p) { return load_u8_n(p, kLanes); }
  static Vec load_u8_n(const uint8_t* p, int n) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lane_mask(n), p)))};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_n(float* p, int n) const { _mm512_mask_storeu_ps(p, lane_mask(n), v); }
};
using F32 = Vec<float>;
inline F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F32 operator-(F32 a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// min and max return the second argument when either is NaN.
inline F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F32 abs(F32 a) { return {_mm512_abs_ps(a.v)}; }
inline F32 sqrt(F32 a) { return {_mm512_sqrt_ps(a.v)}; }
inline F32 floor(F32 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
inline F32 round(F32 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline I32 to_i32(F32 a) { return {_mm512_cvttps_epi32(a.v)}; }  // truncates
inline F32 to_f32(I32 a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline F32 bits_as_f32(I32 a) { return {_mm512_castsi512_ps(a.v)}; }
inline I32 bits_as_i32(F32 a) { return {_mm512_castps_si512(a.v)}; }
template <int kBits>
inline I32 shift_left(I32 a) {
  return {_mm512_slli_epi32(a.v, kBits)};
}
template <int kBits>
inline I32 shift_right(I32 a) {  // zeros come in
  return {_mm512_srli_epi32(a.v, kBits)};
}
inline Mask operator<(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask operator<=(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask operator==(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline Mask is_nan(F32 a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
inline Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.m & b.m)}; }
inline Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.m | b.m)}; }
inline F32 select(Mask m, F32 a, F32 b) { return {_mm512_mask_blend_ps(m.m, b.v, a.v)}; }
inline uint32_t bits(Mask m) { return m.m; }
inline float reduce_add(F32 a) { return _mm512_reduce_add_ps(a.v); }
inline float reduce_max(F32 a) { return _mm512_reduce_max_ps(a.v); }
inline float reduce_min(F32 a) { return _mm512_reduce_min_ps(a.v); }

// The lanes of a and b that stand at even places, and those at odd ones.
inline void deinterleave(I32 a, I32 b, I32* even, I32* odd) {
  const __m512i places = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  even->v = _mm512_permutex2var_epi32(a.v, places, b.v);
  odd->v = _mm512_permutex2var_epi32(a.v, _mm512_add_epi32(places, _mm512_set1_epi32(1)), b.v);
}

// Each lane with those before it; all: the last of these sums, in every lane
inline I32 prefix_sum(I32 a, I32* all) {
  const __m512i zero = _mm512_setzero_si512();
  __m512i sums = _mm512_add_epi32(a.v, _mm512_bslli_epi128(a.v, 4));
  sums = _mm512_add_epi32(sums, _mm512_bslli_epi128(sums, 8));  // of the quarters
  const __m512i last = _mm512_shuffle_epi32(sums, static_cast<_MM_PERM_ENUM>(0xff));
  const __m512i before = _mm512_alignr_epi64(last, zero, 6);  // of each quarter the one before it
  const __m512i pairs = _mm512_add_epi32(last, before);
  const __m512i fours = _mm512_add_epi32(pairs, _mm512_alignr_epi64(pairs, zero, 4));
  sums = _mm512_add_epi32(sums, _mm512_alignr_epi64(fours, zero, 6));
  all->v = _mm512_shuffle_i64x2(fours, fours, 0xff);
  return {sums};
}

// The lanes behind the first of a, then b's first; a's last, then b's lanes before the last.
inline F32 move_down(F32 a, F32 b) {
  return {_mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(b.v), _mm512_castps_si512(a.v), 1))};
}
inline F32 move_up(F32 a, F32 b) {
  return {_mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(b.v), _mm512_castps_si512(a.v), 15))};
}

// Lane l is lane index[l] of a.
inline F32 permute(F32 a, I32 index) { return {_mm512_permutexvar_ps(index.v, a.v)}; }

// Lanes 4 q + r of four rows become quarter q of u[r].
inline void transpose_quarters(const F32* rows, __m512* u) {
  const __m512 a = _mm512_unpacklo_ps(rows[0].v, rows[1].v), b = _mm512_unpackhi_ps(rows[0].v, rows[1].v);
  const __m512 c = _mm512_unpacklo_ps(rows[2].v, rows[3].v), d = _mm512_unpackhi_ps(rows[2].v, rows[3].v);
  u[0] = _mm512_shuffle_ps(a, c, 0x44);
  u[1] = _mm512_shuffle_ps(a, c, 0xee);
  u[2] = _mm512_shuffle_ps(b, d, 0x44);
  u[3] = _mm512_shuffle_ps(b, d, 0xee);
}

// rows[i] lane j becomes rows[j] lane i: within the 128-bit quarters, then the quarters.
inline void transpose(F32 (&rows)[16]) {
  __m512 u[16];
  for (int i = 0; i < 16; i += 4) transpose_quarters(rows + i, u + i);
  for (int i = 0; i < 4; ++i) {  // quarter q of u[i + 4 r] is quarter r of rows[i + 4 q]
    const __m512 a = _mm512_shuffle_f32x4(u[i], u[i + 4], 0x44),
                 b = _mm512_shuffle_f32x4(u[i], u[i + 4], 0xee);
    const __m512 c = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0x44),
                 d = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0xee);
    rows[i].v = _mm512_shuffle_f32x4(a, c, 0x88);
    rows[i + 4].v = _mm512_shuffle_f32x4(a, c, 0xdd);
    rows[i + 8].v = _mm512_shuffle_f32x4(b, d, 0x88);
    rows[i + 12].v = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
// Eight f32 lanes: AVX2 with FMA and F16C.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define PYVISION_ISA_NS avx2

namespace pyvision::avx2 {

template <class T>
struct Vec;
struct Mask {
  __m256 m;
};

// Lanes below n are all ones.
inline __m256i lane_mask(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

template <>
struct Vec<int32_t> {
  static constexpr int kLanes = 8;
  __m256i v;
  static Vec set(int32_t x) { return {_mm256_set1_epi32(x)}; }
  static Vec zero() { return {_mm256_setzero_si256()}; }
  static Vec load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static Vec load_u8_n(const uint8_t* p, int n) {
    uint64_t word = 0;
    __builtin_memcpy(&word, p, static_cast<size_t>(n < kLanes ? n : kLanes));
    return {_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(word)))};
  }
  static Vec load_u16(const uint16_t* p) {
    return {_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static Vec load_u16_n(const uint16_t* p, int n) {
    if (n >= kLanes) return load_u16(p);
    alignas(16) uint16_t lanes[kLanes] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return load_u16(lanes);
  }
  void store(int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  // Lanes in [0, 2^16) and [0, 2^8).
  void store_u16(uint16_t* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), to_u16()); }
  void store_u16_n(uint16_t* p, int n) const {
    alignas(16) uint16_t lanes[kLanes];
    store_u16(lanes);
    for (int i = 0; i < n && i < kLanes; ++i) p[i] = lanes[i];
  }
  void store_u8(uint8_t* p) const {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(to_u16(), to_u16()));
  }
  void store_u8_n(uint8_t* p, int n) const {
    uint8_t lanes[kLanes];
    store_u8(lanes);
    for (int i = 0; i < n && i < kLanes; ++i) p[i] = lanes[i];
  }

 private:
  __m128i to_u16() const {
    return _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  }
};
using I32 = Vec<int32_t>;
inline I32 operator+(I32 a, I32 b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline I32 operator-(I32 a, I32 b) { return {_mm256_sub_epi32(a.v, b.v)}; }
inline I32 operator&(I32 a, I32 b) { return {_mm256_and_si256(a.v, b.v)}; }
inline I32 operator|(I32 a, I32 b) { return {_mm256_or_si256(a.v, b.v)}; }
// Lanes are pairs of int16, low and high half: the sum of their two products.
inline I32 multiply_pairs(I32 a, I32 b) { return {_mm256_madd_epi16(a.v, b.v)}; }

template <>
struct Vec<float> {
  static constexpr int kLanes = 8;
  static constexpr const char* kIsaName = "avx2";
  __m256 v;
  static Vec zero() { return {_mm256_setzero_ps()}; }
  static Vec set(float x) { return {_mm256_set1_ps(x)}; }
  static Vec iota() { return {_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7)}; }
  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vec load_n(const float* p, int n) { return {_mm256_maskload_ps(p, lane_mask(n))}; }
  static Vec load_u8(const uint8_t* p) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
  }
  static Vec load_u8_n(const uint8_t* p, int n) {
    if (n >= kLanes) return load_u8(p);
    uint64_t word = 0;
    for (int i = 0; i < n; ++i) word |= static_cast<uint64_t>(p[i]) << (8 * i);
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(word))))};
  }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store_n(float* p, int n) const { _mm256_maskstore_ps(p, lane_mask(n), v); }
};
using F32 = Vec<float>;
inline F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
inline F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
inline F32 operator-(F32 a) { return {_mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f))}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
// min and max return the second argument when either is NaN.
inline F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
inline F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
inline F32 abs(F32 a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline F32 sqrt(F32 a) { return {_mm256_sqrt_ps(a.v)}; }
inline F32 floor(F32 a) { return {_mm256_floor_ps(a.v)}; }
inline F32 round(F32 a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline I32 to_i32(F32 a) { return {_mm256_cvttps_epi32(a.v)}; }  // truncates
inline F32 to_f32(I32 a) { return {_mm256_cvtepi32_ps(a.v)}; }
inline F32 bits_as_f32(I32 a) { return {_mm256_castsi256_ps(a.v)}; }
inline I32 bits_as_i32(F32 a) { return {_mm256_castps_si256(a.v)}; }
template <int kBits>
inline I32 shift_left(I32 a) {
  return {_mm256_slli_epi32(a.v, kBits)};
}
template <int kBits>
inline I32 shift_right(I32 a) {  // zeros come in
  return {_mm256_srli_epi32(a.v, kBits)};
}
inline Mask operator<(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask operator<=(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask operator==(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
inline Mask is_nan(F32 a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
inline Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.m, b.m)}; }
inline Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.m, b.m)}; }
inline F32 select(Mask m, F32 a, F32 b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }
inline uint32_t bits(Mask m) { return static_cast<uint32_t>(_mm256_movemask_ps(m.m)); }
// Folds eight lanes to one with a two-operand step; every lane-wise reduction is this tree.
#define PYVISION_REDUCE(name, step)                                              \
  inline float name(F32 a) {                                                     \
    __m128 x = step(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1)); \
    x = step(x, _mm_movehl_ps(x, x));                                            \
    return _mm_cvtss_f32(step(x, _mm_shuffle_ps(x, x, 1)));                      \
  }
PYVISION_REDUCE(reduce_add, _mm_add_ps)
PYVISION_REDUCE(reduce_max, _mm_max_ps)
PYVISION_REDUCE(reduce_min, _mm_min_ps)
#undef PYVISION_REDUCE

// The lanes of a and b that stand at even places, and those at odd ones.
inline void deinterleave(I32 a, I32 b, I32* even, I32* odd) {
  const __m256 x = _mm256_castsi256_ps(a.v), y = _mm256_castsi256_ps(b.v);
  const auto in_order = [](__m256 pairs) {  // of halves a, b, a, b
    return _mm256_permute4x64_epi64(_mm256_castps_si256(pairs), 0xd8);
  };
  even->v = in_order(_mm256_shuffle_ps(x, y, 0x88));
  odd->v = in_order(_mm256_shuffle_ps(x, y, 0xdd));
}

// Each lane with those before it; all: the last of these sums, in every lane
inline I32 prefix_sum(I32 a, I32* all) {
  __m256i sums = _mm256_add_epi32(a.v, _mm256_slli_si256(a.v, 4));
  sums = _mm256_add_epi32(sums, _mm256_slli_si256(sums, 8));  // of the halves
  const __m256i last = _mm256_shuffle_epi32(sums, 0xff);
  sums = _mm256_add_epi32(sums, _mm256_permute2x128_si256(last, last, 0x08));
  all->v = _mm256_add_epi32(last, _mm256_permute2x128_si256(last, last, 0x01));
  return {sums};
}

// The lanes behind the first of a, then b's first; a's last, then b's lanes before the last.
inline F32 move_down(F32 a, F32 b) {
  const __m256i x = _mm256_castps_si256(a.v),
                middle = _mm256_castps_si256(_mm256_permute2f128_ps(a.v, b.v, 0x21));
  return {_mm256_castsi256_ps(_mm256_alignr_epi8(middle, x, 4))};
}
inline F32 move_up(F32 a, F32 b) {
  const __m256i y = _mm256_castps_si256(b.v),
                middle = _mm256_castps_si256(_mm256_permute2f128_ps(a.v, b.v, 0x21));
  return {_mm256_castsi256_ps(_mm256_alignr_epi8(y, middle, 12))};
}

// Lane l is lane index[l] of a.
inline F32 permute(F32 a, I32 index) { return {_mm256_permutevar8x32_ps(a.v, index.v)}; }

// Lanes 4 h + r of four rows become half h of u[r].
inline void transpose_halves(const F32* rows, __m256* u) {
  const __m256 a = _mm256_unpacklo_ps(rows[0].v, rows[1].v), b = _mm256_unpackhi_ps(rows[0].v, rows[1].v);
  const __m256 c = _mm256_unpacklo_ps(rows[2].v, rows[3].v), d = _mm256_unpackhi_ps(rows[2].v, rows[3].v);
  u[0] = _mm256_shuffle_ps(a, c, 0x44);
  u[1] = _mm256_shuffle_ps(a, c, 0xee);
  u[2] = _mm256_shuffle_ps(b, d, 0x44);
  u[3] = _mm256_shuffle_ps(b, d, 0xee);
}

// rows[i] lane j becomes rows[j] lane i: within the 128-bit halves, then the halves.
inline void transpose(F32 (&rows)[8]) {
  __m256 u[8];
  for (int i = 0; i < 8; i += 4) transpose_halves(rows + i, u + i);
  for (int i = 0; i < 4; ++i) {
    rows[i].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    rows[i + 4].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

}  // namespace pyvision::avx2

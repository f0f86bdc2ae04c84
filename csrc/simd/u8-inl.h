// SPDX-License-Identifier: Apache-2.0
// Bytes: as many as a register holds, and one at a time for what is narrower than that. Include after one of
// scalar.h, avx2.h, avx512.h.
#pragma once

#include <cstdint>

namespace pyvision::PYVISION_ISA_NS {

struct U8x1 {
  static constexpr int kLanes = 1;
  uint8_t v;
  static U8x1 zero() { return {0}; }
  static U8x1 set(uint8_t x) { return {x}; }
  static U8x1 load(const uint8_t* p) { return {*p}; }
  void store(uint8_t* p) const { *p = v; }
};
inline U8x1 min(U8x1 a, U8x1 b) { return a.v < b.v ? a : b; }
inline U8x1 max(U8x1 a, U8x1 b) { return a.v < b.v ? b : a; }
inline U8x1 subtract_to_zero(U8x1 a, U8x1 b) { return {static_cast<uint8_t>(a.v > b.v ? a.v - b.v : 0)}; }
// Bit i: lane i of a is greater.
inline uint64_t greater_bits(U8x1 a, U8x1 b) { return a.v > b.v; }
// a where it is greater than b, else 0.
inline U8x1 keep_greater(U8x1 a, U8x1 b) { return a.v > b.v ? a : U8x1::zero(); }

#if defined(__AVX512BW__)
template <>
struct Vec<uint8_t> {
  static constexpr int kLanes = 64;
  __m512i v;
  static Vec zero() { return {_mm512_setzero_si512()}; }
  static Vec set(uint8_t x) { return {_mm512_set1_epi8(static_cast<char>(x))}; }
  static Vec load(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
  void store(uint8_t* p) const { _mm512_storeu_si512(p, v); }
};
using U8 = Vec<uint8_t>;
inline U8 min(U8 a, U8 b) { return {_mm512_min_epu8(a.v, b.v)}; }
inline U8 max(U8 a, U8 b) { return {_mm512_max_epu8(a.v, b.v)}; }
inline U8 subtract_to_zero(U8 a, U8 b) { return {_mm512_subs_epu8(a.v, b.v)}; }
inline uint64_t greater_bits(U8 a, U8 b) { return _mm512_cmpgt_epu8_mask(a.v, b.v); }
inline U8 keep_greater(U8 a, U8 b) { return {_mm512_maskz_mov_epi8(_mm512_cmpgt_epu8_mask(a.v, b.v), a.v)}; }
#elif defined(__AVX2__)
template <>
struct Vec<uint8_t> {
  static constexpr int kLanes = 32;
  __m256i v;
  static Vec zero() { return {_mm256_setzero_si256()}; }
  static Vec set(uint8_t x) { return {_mm256_set1_epi8(static_cast<char>(x))}; }
  static Vec load(const uint8_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  void store(uint8_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
};
using U8 = Vec<uint8_t>;
inline U8 min(U8 a, U8 b) { return {_mm256_min_epu8(a.v, b.v)}; }
inline U8 max(U8 a, U8 b) { return {_mm256_max_epu8(a.v, b.v)}; }
inline U8 subtract_to_zero(U8 a, U8 b) { return {_mm256_subs_epu8(a.v, b.v)}; }
// There is no unsigned comparison: a <= b where b is the greater of both.
inline __m256i not_greater(U8 a, U8 b) { return _mm256_cmpeq_epi8(max(a, b).v, b.v); }
inline uint64_t greater_bits(U8 a, U8 b) {
  return ~static_cast<uint32_t>(_mm256_movemask_epi8(not_greater(a, b)));
}
inline U8 keep_greater(U8 a, U8 b) { return {_mm256_andnot_si256(not_greater(a, b), a.v)}; }
#else
using U8 = U8x1;
#endif

}  // namespace pyvision::PYVISION_ISA_NS

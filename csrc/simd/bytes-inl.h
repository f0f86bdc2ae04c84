// SPDX-License-Identifier: Apache-2.0
// Masks, one byte per pixel, from and to bits, 64 at a time. Include after one of scalar.h, avx2.h, avx512.h.
#pragma once

#include <cstdint>

namespace pyvision::PYVISION_ISA_NS {

// Bit i is set where byte i of 64 is not 0.
inline uint64_t nonzero_bytes(const uint8_t* p) {
#if defined(__AVX512BW__)
  const __m512i x = _mm512_loadu_si512(p);
  return _mm512_test_epi8_mask(x, x);
#elif defined(__AVX2__)
  const auto zeros = [p](int half) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p) + half);
    return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, _mm256_setzero_si256())));
  };
  return ~(uint64_t{zeros(1)} << 32 | zeros(0));
#else
  uint64_t bits = 0;
  for (int k = 0; k < 8; ++k) {
    uint64_t bytes;
    __builtin_memcpy(&bytes, p + 8 * k, 8);
    if (bytes == 0) continue;
    bytes |= bytes >> 4 & 0x0f0f0f0f0f0f0f0f;  // any bit of a byte into its lowest
    bytes |= bytes >> 2 & 0x3f3f3f3f3f3f3f3f;
    bytes |= bytes >> 1 & 0x7f7f7f7f7f7f7f7f;
    bits |= ((bytes & 0x0101010101010101) * 0x0102040810204080 >> 56)
            << 8 * k;  // gathers them in the top byte
  }
  return bits;
#endif
}

// The same of n bytes, n <= 64; the other bits are 0.
inline uint64_t nonzero_bytes_n(const uint8_t* p, int64_t n) {
#if defined(__AVX512BW__)
  const __mmask64 first = n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
  const __m512i x = _mm512_maskz_loadu_epi8(first, p);
  return _mm512_test_epi8_mask(x, x);
#else
  uint8_t bytes[64] = {};
  __builtin_memcpy(bytes, p, static_cast<size_t>(n));
  return nonzero_bytes(bytes);
#endif
}

// Byte i of n becomes 1 where bit i is set, else 0; n <= 64.
inline void store_bits_as_bytes(uint64_t bits, uint8_t* p, int64_t n) {
#if defined(__AVX512BW__)
  const __mmask64 first = n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
  _mm512_mask_storeu_epi8(p, first, _mm512_maskz_set1_epi8(bits, 1));
#else
  alignas(32) uint8_t bytes[64];
#if defined(__AVX2__)
  for (int half = 0; half < 2; ++half) {
    // Every byte of a vector gets the byte of `bits` that holds its bit, and keeps that bit alone.
    const __m256i source = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2,
                                            2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i its_bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    const __m256i word = _mm256_set1_epi32(static_cast<int32_t>(bits >> 32 * half));
    const __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(word, source), its_bit);
    _mm256_store_si256(
        reinterpret_cast<__m256i*>(bytes) + half,
        _mm256_andnot_si256(_mm256_cmpeq_epi8(set, _mm256_setzero_si256()), _mm256_set1_epi8(1)));
  }
#else
  for (int k = 0; k < 64; ++k) bytes[k] = bits >> k & 1;
#endif
  __builtin_memcpy(p, bytes, static_cast<size_t>(n));
#endif
}

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
// Hamming distances: one row of a at a time against as many rows of b as there are lanes of 64 bits.
#pragma once

#include "ops/match/best-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Words: kLanes of 64 bits. Counts: what becomes of their set bits: add() some words', total() of all added,
// at most kMaxAdds times. below(): bit l where lane l is less than the limit.
#if defined(__AVX512BW__)
struct Words {
  static constexpr int kLanes = 8;
  __m512i v;
  static Words set(uint64_t x) { return {_mm512_set1_epi64(static_cast<int64_t>(x))}; }
  static Words load(const uint64_t* p) { return {_mm512_loadu_si512(p)}; }
  void store(uint64_t* p) const { _mm512_storeu_si512(p, v); }
};
inline Words operator+(Words a, Words b) { return {_mm512_add_epi64(a.v, b.v)}; }
inline uint32_t below(Words a, Words limit) { return _mm512_cmplt_epu64_mask(a.v, limit.v); }
#if defined(__AVX512VPOPCNTDQ__)
struct Counts {
  static constexpr int kMaxAdds = 1 << 30;
  __m512i sums = _mm512_setzero_si512();
  void add(Words a, Words b) {
    sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(_mm512_xor_si512(a.v, b.v)));
  }
  Words total() const { return {sums}; }
};
#else
struct Counts {
  static constexpr int kMaxAdds = 31;  // of 8 bits each: a byte holds no more
  __m512i bytes = _mm512_setzero_si512();
  void add(Words a, Words b) {
    const __m512i low = _mm512_set1_epi8(15), x = _mm512_xor_si512(a.v, b.v);
    const __m512i ones =  // in a nibble
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i a4 = _mm512_shuffle_epi8(ones, _mm512_and_si512(x, low));
    const __m512i b4 = _mm512_shuffle_epi8(ones, _mm512_and_si512(_mm512_srli_epi16(x, 4), low));
    bytes = _mm512_add_epi8(bytes, _mm512_add_epi8(a4, b4));
  }
  Words total() const { return {_mm512_sad_epu8(bytes, _mm512_setzero_si512())}; }
};
#endif
#elif defined(__AVX2__)
struct Words {
  static constexpr int kLanes = 4;
  __m256i v;
  static Words set(uint64_t x) { return {_mm256_set1_epi64x(static_cast<int64_t>(x))}; }
  static Words load(const uint64_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  void store(uint64_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
};
inline Words operator+(Words a, Words b) { return {_mm256_add_epi64(a.v, b.v)}; }
inline uint32_t below(Words a, Words limit) {  // both far below 2^63
  return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(limit.v, a.v))));
}
struct Counts {
  static constexpr int kMaxAdds = 31;  // of 8 bits each: a byte holds no more
  __m256i bytes = _mm256_setzero_si256();
  void add(Words a, Words b) {
    const __m256i low = _mm256_set1_epi8(15), x = _mm256_xor_si256(a.v, b.v);
    const __m256i ones =  // in a nibble
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i a4 = _mm256_shuffle_epi8(ones, _mm256_and_si256(x, low));
    const __m256i b4 = _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(x, 4), low));
    bytes = _mm256_add_epi8(bytes, _mm256_add_epi8(a4, b4));
  }
  Words total() const { return {_mm256_sad_epu8(bytes, _mm256_setzero_si256())}; }
};
#else
struct Words {
  static constexpr int kLanes = 1;
  uint64_t v;
  static Words set(uint64_t x) { return {x}; }
  static Words load(const uint64_t* p) { return {*p}; }
  void store(uint64_t* p) const { *p = v; }
};
inline Words operator+(Words a, Words b) { return {a.v + b.v}; }
inline uint32_t below(Words a, Words limit) { return a.v < limit.v; }
struct Counts {
  static constexpr int kMaxAdds = 1 << 30;
  uint64_t sum = 0;
  void add(Words a, Words b) { sum += static_cast<uint64_t>(__builtin_popcountll(a.v ^ b.v)); }
  Words total() const { return {sum}; }
};
#endif

// kWords: how many there are, or 0 where that is known at run time only.
template <int kWords>
[[gnu::always_inline]] inline Words distances(const uint64_t* a, const uint64_t* b, int64_t words) {
  if (kWords > 0) words = kWords;
  Words sum = Words::set(0);
  int64_t w = 0;
  do {  // several times only where there are more words than counts hold
    Counts counts;
    const int64_t end = words - w < Counts::kMaxAdds ? words : w + Counts::kMaxAdds;
    for (; w < end; ++w) counts.add(Words::set(a[w]), Words::load(b + w * Words::kLanes));
    sum = kWords > 0 ? counts.total() : sum + counts.total();
  } while (kWords == 0 && w < words);
  return sum;
}

constexpr int64_t kBitBlock = 16384 / 8;  // words of b that stay in L1 while all rows of a meet them

template <int kWords>
inline void match_bit_rows_of(const BitMatch& job, int64_t begin, int64_t end) {
  constexpr int64_t kLanes = Words::kLanes;
  const int64_t groups = (job.n_b + kLanes - 1) / kLanes, group_words = job.words * kLanes;
  const int64_t block = kBitBlock / group_words > 0 ? kBitBlock / group_words : 1;
  const uint32_t last_lanes = (1u << (job.n_b - (groups - 1) * kLanes)) - 1;
  for (int64_t first = 0; first < groups; first += block) {
    const int64_t last = first + block < groups ? first + block : groups;
    for (int64_t row = begin; row < end; ++row) {
      const uint64_t* const a = job.a + row * job.words;
      float worst = worst_of(job.best, row);
      // Distances are whole numbers; before k are found every one of them counts.
      Words limit = Words::set(worst < -1e9f ? uint64_t{1} << 40 : static_cast<uint64_t>(-worst));
      for (int64_t g = first; g < last; ++g) {
        const Words d = distances<kWords>(a, job.b + g * group_words, job.words);
        uint32_t better = below(d, limit);
        if (better == 0) continue;
        if (g + 1 == groups) better &= last_lanes;
        uint64_t lanes[kLanes];
        d.store(lanes);
        for (; better != 0; better &= better - 1) {
          const int lane = __builtin_ctz(better);
          const float score = -static_cast<float>(lanes[lane]);
          if (score <= worst) continue;  // beaten by a neighbour in the same vector
          insert_best(job.best, row, score, static_cast<int32_t>(g * kLanes + lane));
          worst = worst_of(job.best, row);
        }
        if (worst > -1e9f) limit = Words::set(static_cast<uint64_t>(-worst));
      }
    }
  }
}

inline void match_bit_rows(const BitMatch& job, int64_t begin, int64_t end) {
  if (job.words == 2) return match_bit_rows_of<2>(job, begin, end);
  if (job.words == 4) return match_bit_rows_of<4>(job, begin, end);
  if (job.words == 8) return match_bit_rows_of<8>(job, begin, end);
  match_bit_rows_of<0>(job, begin, end);
}

}  // namespace pyvision::PYVISION_ISA_NS

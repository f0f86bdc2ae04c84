// SPDX-License-Identifier: Apache-2.0
// match: for each row of a the k rows of b that are nearest, by brute force. a: (n_a, d), b: (n_b, d)
//
//   l2        sqrt(sum (a - b)^2)          float
//   l1        sum |a - b|                  float
//   hamming   bits in which a and b differ   bytes
//
// Neighbours stand by rising distance, equal ones by rising index. No matrix of distances is made: a block of
// rows of a meets b panel by panel, and of each small tile only what beats a row's k nearest so far is kept.
//
// For l2 a tile is a product of matrices: |a - b|^2 = |a|^2 - 2 (a . b - |b|^2 / 2), whose bracket, the
// score, is the tile GEMM with a bias. The score is rounded like any float32 sum, so of two neighbours whose
// distances agree to some 1e-6 of |a|^2 + |b|^2 either may come first; the distances given are computed from
// the differences themselves, and their order is that of the numbers given.
#pragma once

#include <cstdint>

#include "core/dispatch.h"

namespace pyvision {

enum class MatchMetric : uint8_t { kL2, kL1, kHamming };

// What a row of a has found so far: scores that fall, and whose they are. A score is the bracket above, or
// minus a distance.
struct MatchBest {
  int64_t k;
  float* scores;     // (rows, k), -inf where there is none yet
  int32_t* indices;  // (rows, k)
};

struct FloatMatch {
  const float* a;  // (n_a, d)
  int64_t d;
  const float* packed;  // b in panels, as the tile GEMM's B
  const float* bias;    // (whole panels,): where scores start; -inf behind the last row of b
  int64_t n_b;
  MatchBest best;
};

// b as columns: (groups, words, lanes) words of 64 bits
struct BitMatch {
  const uint64_t* a;  // (n_a, words)
  const uint64_t* b;
  int64_t words, n_b;
  MatchBest best;
};

struct MatchKernels {
  const char* isa;
  // Rows [begin, end) of a.
  void (*l2)(const FloatMatch& job, int64_t begin, int64_t end);
  void (*l1)(const FloatMatch& job, int64_t begin, int64_t end);
  // Distance of two rows, exact to rounding.
  float (*l2_distance)(const float* a, const float* b, int64_t d);
};

PYVISION_KERNELS(MatchKernels, match)

struct BitMatchKernels {
  const char* isa;
  int64_t lanes;  // of 64 bits
  void (*hamming)(const BitMatch& job, int64_t begin, int64_t end);
};

PYVISION_EXTENDED_KERNELS(BitMatchKernels, match_bits, vpopcntdq, kVpopcntdq)

// distances, indices: (n_a, k), k <= n_b < 2^31. Throws where a row of a or b is so large, or not finite,
// that distances may not be.
void match_floats(MatchMetric metric, const float* a, int64_t n_a, const float* b, int64_t n_b, int64_t d,
                  int64_t k, float* distances, int64_t* indices);
// a: (n_a, bytes), b: (n_b, bytes)
void match_bytes(const uint8_t* a, int64_t n_a, const uint8_t* b, int64_t n_b, int64_t bytes, int64_t k,
                 float* distances, int64_t* indices);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// A row's k nearest so far. Include after one of scalar.h, avx2.h, avx512.h.
#pragma once

#include "ops/match/match.h"

namespace pyvision::PYVISION_ISA_NS {

// Puts a score that beats the last one in its place, behind those that are equal: candidates come by rising
// index.
inline void insert_best(const MatchBest& best, int64_t row, float score, int32_t index) {
  float* const scores = best.scores + row * best.k;
  int32_t* const indices = best.indices + row * best.k;
  int64_t i = best.k - 1;
  for (; i > 0 && scores[i - 1] < score; --i) {
    scores[i] = scores[i - 1];
    indices[i] = indices[i - 1];
  }
  scores[i] = score;
  indices[i] = index;
}

inline float worst_of(const MatchBest& best, int64_t row) { return best.scores[row * best.k + best.k - 1]; }

}  // namespace pyvision::PYVISION_ISA_NS

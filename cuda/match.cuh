// SPDX-License-Identifier: Apache-2.0
// match on the device: what csrc/ops/match/match.h says, for any number of neighbours.
//
// Scores of a block of rows of a with all of b, larger for nearer: for l2 a . b - |b|^2 / 2, which is a 1x1
// convolution with a bias and runs through the GEMM of conv2d; else minus the distance. A warp then takes the
// k best of each row, equal ones by rising index. Rows of up to 256 values are multiplied by tensor cores,
// each split into two of tf32 (Ootomo and Yokota, "Recovering single precision accuracy from Tensor Cores",
// IJHPCA 2022), longer ones in f32.
#pragma once

#include <cstdint>

#include "common/device.h"

namespace pyvision::cuda {

enum class MatchMetric : uint8_t { kL2, kL1, kHamming };

struct MatchProblem {
  MatchMetric metric = MatchMetric::kL2;
  const void* a = nullptr;  // (n_a, d): float, of kHamming bytes
  const void* b = nullptr;  // (n_b, d)
  int64_t n_a = 0, n_b = 0, d = 0;
  int64_t k = 1;  // in [1, n_b]
};

size_t match_workspace_bytes(const Stream& stream, const MatchProblem& problem);
// distances: (n_a, k); indices: (n_a, k), -1 and infinity where fewer rows of b are finite.
void match(const char* op, const Stream& stream, const MatchProblem& problem, void* workspace,
           float* distances, int64_t* indices);

// Which of the neighbours are matches.
struct MatchFilter {
  const float* distances = nullptr;  // (n_a, k)
  const int64_t* indices = nullptr;  // (n_a, k)
  int64_t n_a = 0, k = 1;
  int64_t taken = 1;              // of the k, the first so many
  float ratio = 0;                // 0: none; else k is 2
  const int64_t* back = nullptr;  // (n_b,): the nearest row of a for each of b; null: not asked for
  double max_distance = 0;
};
size_t match_filter_workspace_bytes(const MatchFilter& filter);
// pairs: room for (n_a * taken, 2), by rising first index; count: (1,)
void filter_matches(const char* op, const Stream& stream, const MatchFilter& filter, void* workspace,
                    int64_t* pairs, float* distances, int64_t* count);

}  // namespace pyvision::cuda

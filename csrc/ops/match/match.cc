// SPDX-License-Identifier: Apache-2.0
#include "ops/match/match.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "core/arena.h"
#include "core/check.h"
#include "core/parallel.h"
#include "ops/conv2d/kernels.h"

namespace pyvision {
namespace {

constexpr const char* kOp = "match";
constexpr float kNone = -std::numeric_limits<float>::infinity();

// Every distance between rows whose own size is no more than this is finite, and so is every score.
constexpr float kMaxSize = 1e37f;

constexpr int64_t kRows = 128;  // of a share of what is done once

// Rows for one share of work, `group` at a time.
template <class Body>
void share_rows(int64_t n, int64_t group, Body body) {
  parallel_for((n + group - 1) / group, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i * group, std::min(n, (i + 1) * group));
  });
}

// The squared norm, or the sum of magnitudes.
float size_of(MatchMetric metric, const float* x, int64_t d) {
  constexpr int64_t kSums = 8;  // so that none waits for the one before
  double sums[kSums] = {};
  for (int64_t i = 0; i < d; ++i) {
    const auto value = static_cast<double>(x[i]);
    sums[i % kSums] += metric == MatchMetric::kL2 ? value * value : std::abs(value);
  }
  return static_cast<float>(std::accumulate(sums, sums + kSums, 0.0));
}

void check_sizes(MatchMetric metric, const float* x, int64_t n, int64_t d, const char* name, float* sizes) {
  share_rows(n, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) sizes[i] = size_of(metric, x + i * d, d);
  });
  for (int64_t i = 0; i < n; ++i) {
    check(sizes[i] <= kMaxSize, kOp, "expected ", name,
          " to be finite, and so small that distances are, got row ", i, " of size ", sizes[i]);
  }
}

}  // namespace

void match_floats(MatchMetric metric, const float* a, int64_t n_a, const float* b, int64_t n_b, int64_t d,
                  int64_t k, float* distances, int64_t* indices) {
  const bool l2 = metric == MatchMetric::kL2;
  const Conv2dKernels& gemm = conv2d_kernels();
  const int64_t columns = (n_b + gemm.panel_width - 1) / gemm.panel_width * gemm.panel_width;
  Scratch<float> a_sizes(n_a), bias(columns);
  check_sizes(metric, a, n_a, d, "a", a_sizes);
  check_sizes(metric, b, n_b, d, "b", bias);
  for (int64_t i = 0; i < n_b; ++i) bias[i] = l2 ? -0.5f * bias[i] : 0;
  std::fill_n(bias + n_b, columns - n_b, kNone);
  Scratch<float> packed(gemm.packed_floats(n_b, d));
  share_rows(n_b, gemm.panel_width, [&](int64_t begin, int64_t end) {
    gemm.pack(b + begin * d, end - begin, /*taps=*/1, d, d, 0, 1, packed + begin * d);
  });
  Scratch<float> scores(n_a * k);
  Scratch<int32_t> found(n_a * k);
  std::fill_n(scores.get(), n_a * k, kNone);
  const FloatMatch job = {a, d, packed, bias, n_b, {k, scores, found}};
  const MatchKernels& kernels = match_kernels();
  const int64_t group = kTileGroup * gemm.row_tile;
  share_rows(n_a, group, [&](int64_t begin, int64_t end) {
    (l2 ? kernels.l2 : kernels.l1)(job, begin, end);
    std::vector<std::pair<float, int32_t>> row(static_cast<size_t>(k));
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < k; ++j) {
        const int32_t index = found[i * k + j];
        const float distance = l2 ? kernels.l2_distance(a + i * d, b + index * d, d) : -scores[i * k + j];
        row[static_cast<size_t>(j)] = {distance, index};
      }
      std::sort(row.begin(), row.end());
      for (int64_t j = 0; j < k; ++j) {
        distances[i * k + j] = row[static_cast<size_t>(j)].first;
        indices[i * k + j] = row[static_cast<size_t>(j)].second;
      }
    }
  });
}

void match_bytes(const uint8_t* a, int64_t n_a, const uint8_t* b, int64_t n_b, int64_t bytes, int64_t k,
                 float* distances, int64_t* indices) {
  const BitMatchKernels& kernels = match_bits_kernels();
  const int64_t words = (bytes + 7) / 8, lanes = kernels.lanes, groups = (n_b + lanes - 1) / lanes;
  Scratch<uint64_t> rows(n_a * words), columns(groups * words * lanes);
  std::fill_n(rows.get(), n_a * words, uint64_t{0});
  std::fill_n(columns.get(), groups * words * lanes, uint64_t{0});
  for (int64_t i = 0; i < n_a; ++i) std::memcpy(rows + i * words, a + i * bytes, static_cast<size_t>(bytes));
  for (int64_t i = 0; i < n_b; ++i) {
    for (int64_t w = 0; w < words; ++w)
      std::memcpy(columns + (i / lanes * words + w) * lanes + i % lanes, b + i * bytes + 8 * w,
                  static_cast<size_t>(std::min<int64_t>(8, bytes - 8 * w)));
  }
  Scratch<int32_t> found(n_a * k);
  std::fill_n(distances, n_a * k, kNone);
  const BitMatch job = {rows, columns, words, n_b, {k, distances, found}};
  constexpr int64_t kGroup = 128;  // rows that share a block of b in L1
  share_rows(n_a, kGroup, [&](int64_t begin, int64_t end) {
    kernels.hamming(job, begin, end);
    for (int64_t i = begin * k; i < end * k; ++i) {
      distances[i] = -distances[i];
      indices[i] = found[i];
    }
  });
}

}  // namespace pyvision

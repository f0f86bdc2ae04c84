// SPDX-License-Identifier: Apache-2.0
#include "conv/gemm-inl.h"
#include "ops/match/best-inl.h"
#include "ops/match/bits-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Scores fall by the distance.
struct L1Product : F32Product {
  static F32 dot(F32 a, F32 b, F32 sum) { return sum - abs(a - b); }
};

// Scores that none of a tile's rows has any use for never leave the registers.
struct KeepBest {
  using Out = float;
  using Sum = float;

  const float* bias;  // where scores start
  MatchBest best;
  int64_t first_row, first_column;
  int done;  // rows that an earlier tile has had
};
template <>
constexpr bool kWritesRows<KeepBest> = false;

// scores: at most 64, of the columns from `column` on; better: those that beat the row's worst, as bits
[[gnu::noinline]] inline void keep_best(const MatchBest& best, const float* scores, uint64_t better,
                                        int64_t row, int64_t column) {
  float worst = worst_of(best, row);
  for (; better != 0; better &= better - 1) {
    const int i = __builtin_ctzll(better);
    if (scores[i] <= worst) continue;  // beaten by a neighbour in the same panel
    insert_best(best, row, scores[i], static_cast<int32_t>(column + i));
    worst = worst_of(best, row);
  }
}

template <int MR, int NV>
[[gnu::always_inline]] inline void finish_tile(const F32 (&acc)[MR][NV], const TileOutputOf<KeepBest>& out) {
  const float* const worst = out.best.scores + out.first_row * out.best.k + out.best.k - 1;
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
    const F32 limit = F32::set(worst[r * out.best.k]);
    uint64_t better = 0;
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) better |= uint64_t{bits(limit < acc[r][v])} << (v * F32::kLanes);
    if (better == 0 || r < out.done) continue;
    alignas(64) float scores[NV * F32::kLanes];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) acc[r][v].store(scores + v * F32::kLanes);
    keep_best(out.best, scores, better, out.first_row + r, out.first_column);
  }
}

template <int MR, class Product>
inline MicrokernelOf<KeepBest> pick_match_microkernel(bool narrow) {
  return narrow ? microkernel<MR, 1, Product, KeepBest> : microkernel<MR, kPanelVectors, Product, KeepBest>;
}

// A panel of b serves all rows of the range before the next: it comes from L3 once, and the rows wait in L2.
// The last tile goes over rows of the one before it rather than have fewer; rows that fill none go one by
// one.
template <class Product>
inline void match_rows(const FloatMatch& job, int64_t begin, int64_t end) {
  const int rows = end - begin < kRowTile ? 1 : kRowTile;
  const int64_t passes = (end - begin + rows - 1) / rows;
  TileOutputOf<KeepBest> out;
  out.best = job.best;
  out.has_residual = false;
  out.first = true;
  const float* b = job.packed;
  for (int64_t column = 0; column < job.n_b; column += kPanelWidth) {
    const bool narrow = panel_is_narrow(job.n_b - column);
    const int64_t width = narrow ? F32::kLanes : kPanelWidth;
    const auto microkernel = rows == 1 ? pick_match_microkernel<1, Product>(narrow)
                                       : pick_match_microkernel<kRowTile, Product>(narrow);
    out.bias = job.bias + column;
    out.first_column = column;
    const float* const next = b + job.d * width;
    for (int64_t pass = 0; pass < passes; ++pass) {
      const int64_t row = begin + pass * rows;
      out.first_row = row + rows < end ? row : end - rows;
      out.done = static_cast<int>(row - out.first_row);
      const TileInput a = {job.a + out.first_row * job.d, job.d, 1, 0, job.d};
      microkernel(a, b, PanelAhead::share(next, width, passes).after(pass * job.d), out);
    }
    b = next;
  }
}

inline float l2_distance(const float* a, const float* b, int64_t d) {
  F32 sum = F32::zero();
  for_each_vector<float>(d, [&](int64_t i, int lanes) {
    const F32 difference = load_lanes(a + i, lanes) - load_lanes(b + i, lanes);
    sum = fma(difference, difference, sum);
  });
  return __builtin_sqrtf(reduce_add(sum));
}

const MatchKernels match = {F32::kIsaName, match_rows<F32Product>, match_rows<L1Product>, l2_distance};
const BitMatchKernels match_bits = {F32::kIsaName, Words::kLanes, match_bit_rows};

}  // namespace pyvision::PYVISION_ISA_NS

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

// Two sizes of tile only: rows that make no whole one go one by one. There are few.
struct L1Kernels {
  static constexpr int rows_of(int64_t left) { return left < kRowTile ? 1 : kRowTile; }
  static MicrokernelOf<Epilogue> pick(int rows, bool narrow) {
    if (rows == 1) return narrow ? microkernel<1, 1, L1Product> : microkernel<1, kPanelVectors, L1Product>;
    return narrow ? microkernel<kRowTile, 1, L1Product> : microkernel<kRowTile, kPanelVectors, L1Product>;
  }
};
struct L2Kernels {
  static constexpr int rows_of(int64_t left) { return static_cast<int>(left < kRowTile ? left : kRowTile); }
  static MicrokernelOf<Epilogue> pick(int rows, bool narrow) { return pick_f32_microkernel(rows, narrow); }
};

// scores: (rows, kPanelWidth) of rows of a from `row` on and columns of b from `column` on
inline void keep_best(const MatchBest& best, const float* scores, int64_t row, int rows, int64_t column,
                      int64_t width) {
  for (int r = 0; r < rows; ++r) {
    const float* const of_row = scores + r * kPanelWidth;
    float worst = worst_of(best, row + r);
    for (int64_t c = 0; c < width; c += F32::kLanes) {
      uint32_t better = bits(F32::set(worst) < F32::load(of_row + c));
      for (; better != 0; better &= better - 1) {
        const int64_t i = c + __builtin_ctz(better);
        if (of_row[i] <= worst) continue;  // beaten by a neighbour in the same vector
        insert_best(best, row + r, of_row[i], static_cast<int32_t>(column + i));
        worst = worst_of(best, row + r);
      }
    }
  }
}

// A panel of b serves all rows of the range before the next: it comes from L3 once, and the rows wait in L2.
template <class Kernels>
inline void match_rows(const FloatMatch& job, int64_t begin, int64_t end) {
  alignas(64) float scores[kRowTile * kPanelWidth];
  TileOutput out;
  out.activation = {};
  out.has_residual = false;
  out.first = out.last = true;
  for (int r = 0; r < kRowTile; ++r) out.row[r] = scores + r * kPanelWidth;
  const float* b = job.packed;
  for (int64_t column = 0; column < job.n_b; column += kPanelWidth) {
    const bool narrow = panel_is_narrow(job.n_b - column);
    const int64_t width = narrow ? F32::kLanes : kPanelWidth;
    out.columns = static_cast<int>(width);
    out.bias = job.bias + column;
    const float* const next = b + job.d * width;
    const int64_t passes = (end - begin + kRowTile - 1) / kRowTile;
    for (int64_t row = begin, pass = 0; row < end; ++pass) {
      const int rows = Kernels::rows_of(end - row);
      const TileInput a = {job.a + row * job.d, job.d, 1, 0, job.d};
      Kernels::pick(rows, narrow)(a, b, PanelAhead::share(next, width, passes).after(pass * job.d), out);
      keep_best(job.best, scores, row, rows, column, width);
      row += rows;
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

const MatchKernels match = {F32::kIsaName, match_rows<L2Kernels>, match_rows<L1Kernels>, l2_distance};
const BitMatchKernels match_bits = {F32::kIsaName, Words::kLanes, match_bit_rows};

}  // namespace pyvision::PYVISION_ISA_NS

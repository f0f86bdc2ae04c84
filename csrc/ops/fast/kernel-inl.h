// SPDX-License-Identifier: Apache-2.0
#include "ops/fast/fast.h"
#include "ops/fast/ring.h"
#include "simd/u8-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// The greatest minimum over all arcs of kCircle / 2 + 1 neighbours. Two arcs that start one pixel apart share
// all but their ends, so every second start suffices: min(shared, max(end, other end)).
template <int kCircle, class V>
[[gnu::always_inline]] inline V best_arc(const V (&d)[kCircle]) {
  constexpr int kHalf = kCircle / 2;
  V pair[kHalf];  // d at 2 k + 1 and 2 k + 2
#pragma GCC unroll 8
  for (int k = 0; k < kHalf; ++k) pair[k] = min(d[2 * k + 1], d[(2 * k + 2) % kCircle]);
  V quad[kHalf];
#pragma GCC unroll 8
  for (int k = 0; k < kHalf; ++k) quad[k] = min(pair[k], pair[(k + 1) % kHalf]);
  V best = V::zero();
#pragma GCC unroll 8
  for (int k = 0; k < kHalf; ++k) {
    V shared = quad[k];  // kHalf pixels from 2 k + 1 on
    if (kCircle == 12) shared = min(shared, pair[(k + 2) % kHalf]);
    if (kCircle == 16) shared = min(shared, quad[(k + 2) % kHalf]);
    best = max(best, min(shared, max(d[2 * k], d[(2 * k + 1 + kHalf) % kCircle])));
  }
  return best;
}

template <int kCircle, class V>
[[gnu::always_inline]] inline bool score_vector(const uint8_t* p, const int64_t* ring, V threshold,
                                                uint8_t* scores) {
  const V center = V::load(p);
  // Of any arc's pixels two are neighbours among four at right angles: a bound that most pixels fail.
  V above[4], below[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const V pixel = V::load(p + ring[i * kCircle / 4]);
    above[i] = subtract_to_zero(pixel, center);
    below[i] = subtract_to_zero(center, pixel);
  }
  const V bound = max(min(max(above[0], above[2]), max(above[1], above[3])),
                      min(max(below[0], below[2]), max(below[1], below[3])));
  if (greater_bits(bound, threshold) == 0) {
    V::zero().store(scores);
    return false;
  }
  V pixels[kCircle], d[kCircle];
#pragma GCC unroll 16
  for (int i = 0; i < kCircle; ++i) pixels[i] = V::load(p + ring[i]);
#pragma GCC unroll 16
  for (int i = 0; i < kCircle; ++i) d[i] = subtract_to_zero(pixels[i], center);
  const V brighter = best_arc<kCircle, V>(d);
#pragma GCC unroll 16
  for (int i = 0; i < kCircle; ++i) d[i] = subtract_to_zero(center, pixels[i]);
  const V best = keep_greater(max(brighter, best_arc<kCircle, V>(d)), threshold);
  best.store(scores);
  return greater_bits(best, V::zero()) != 0;
}

template <int kCircle>
inline bool score_ring(const uint8_t* row, int64_t stride, int64_t width, uint8_t threshold,
                       uint8_t* scores) {
  int64_t ring[kCircle];
  for (int i = 0; i < kCircle; ++i)
    ring[i] = Ring<kCircle>::kPixels[i].y * stride + Ring<kCircle>::kPixels[i].x;
  const int64_t end = width - kFastBorder;
  bool any = false;
  int64_t x = kFastBorder;
  const auto visit = [&](auto limit) __attribute__((always_inline)) {
    any |= score_vector<kCircle>(row + x, ring, limit, scores + x);
    x += decltype(limit)::kLanes;
  };
  const U8 limit = U8::set(threshold);
  while (x + U8::kLanes <= end) visit(limit);
  if (x < end && kFastBorder + U8::kLanes <= end) {  // the last vector again, from where it is whole
    x = end - U8::kLanes;
    visit(limit);
  }
  while (x < end) visit(U8x1::set(threshold));
  return any;
}

inline bool score_row(int circle, const uint8_t* row, int64_t stride, int64_t width, uint8_t threshold,
                      uint8_t* scores) {
  if (circle == 8) return score_ring<8>(row, stride, width, threshold, scores);
  if (circle == 12) return score_ring<12>(row, stride, width, threshold, scores);
  return score_ring<16>(row, stride, width, threshold, scores);
}

// Bit i: a corner at x + i that stays.
template <class V>
[[gnu::always_inline]] inline uint64_t corner_bits(const uint8_t* above, const uint8_t* row,
                                                   const uint8_t* below, int64_t x) {
  const V center = V::load(row + x);
  if (above == nullptr) return greater_bits(center, V::zero());
  if (greater_bits(center, V::zero()) == 0) return 0;
  V most = max(V::load(row + x - 1), V::load(row + x + 1));
  for (int64_t i = -1; i <= 1; ++i) most = max(most, max(V::load(above + x + i), V::load(below + x + i)));
  const V one = V::set(1);  // scores are M - 1: a score of 0 is no greater than that of no corner
  return greater_bits(subtract_to_zero(center, one), subtract_to_zero(most, one));
}

inline int64_t list_row(const uint8_t* above, const uint8_t* row, const uint8_t* below, int64_t width,
                        int32_t* columns) {
  const int64_t end = width - kFastBorder;
  int64_t count = 0, x = kFastBorder;
  const auto append = [&](uint64_t found) {
    for (; found != 0; found &= found - 1)
      columns[count++] = static_cast<int32_t>(x + __builtin_ctzll(found));
  };
  for (; x + U8::kLanes <= end; x += U8::kLanes) append(corner_bits<U8>(above, row, below, x));
  for (; x < end; ++x) append(corner_bits<U8x1>(above, row, below, x));
  return count;
}

const FastKernels fast = {F32::kIsaName, score_row, list_row};

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
// IoU > threshold makes the intersection wider than threshold * w, and an interval inside [x1, x2] that wide
// cannot miss the core with s = min(threshold, 1/2). For thresholds from 1/2 the core is the centre: one
// cell, seldom more than one block.
#include "ops/boxes/range.h"
#include "ops/nms/grid-inl.h"
#include "ops/nms/nms.h"
#include "simd/f64-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

constexpr uint32_t kAllLanes = (uint64_t{1} << F32::kLanes) - 1;

template <class T>
struct AxisAligned {
  using Value = T;
  using Block = NmsBoxes<T>;
  const T* boxes;
  T threshold, shrink;

  bool read(int64_t j, T* item) const {
    for (int k = 0; k < 4; ++k) item[k] = boxes[4 * j + k];
    const T w = item[2] - item[0], h = item[3] - item[1];
    item[4] = w * h;
    return w > 0 && h > 0;
  }

  bool hits(const Block& block, const T* item) const {
    using V = Vec<T>;
    const V zero = V::zero(), x1 = V::set(item[0]), y1 = V::set(item[1]), x2 = V::set(item[2]),
            y2 = V::set(item[3]), area = V::set(item[4]), limit = V::set(threshold);
    for (int i = 0; i < block.count; i += V::kLanes) {
      const V w = max(zero, min(x2, V::load(block.field[2] + i)) - max(x1, V::load(block.field[0] + i)));
      const V h = max(zero, min(y2, V::load(block.field[3] + i)) - max(y1, V::load(block.field[1] + i)));
      const V intersection = w * h;
      const V united = (area + V::load(block.field[4] + i)) - intersection;
      // I / U > t implies I > t U, hence I >= t U rounded: lanes that fail need no division.
      const auto candidates = (limit * united <= intersection) & (zero < intersection);
      if (bits(candidates) != 0 && bits(limit < intersection / united) != 0) return true;
    }
    return false;
  }
};

template <class T>
inline void nms_greedy(const T* boxes, int64_t begin, int64_t end, T threshold, NmsKept<NmsBoxes<T>>* kept,
                       int64_t* limit, uint8_t* survives) {
  constexpr T kCoreSlack =
      T(1e-3);  // more than rounding can add to an IoU: the core is kept that much too wide
  const T shrink = (threshold < T{0.5} ? threshold : T{0.5}) - kCoreSlack;
  const AxisAligned<T> kind = {boxes, threshold, shrink > 0 ? shrink : 0};
  nms_visit(kind, begin, end, kept, limit, survives);
}

// The lanes of (kLanes, 4) floats, of which the first `lanes` rows are there, as columns; zeros elsewhere.
inline void load_columns(const float* boxes, int lanes, F32 (&column)[4]) {
  I32 part[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const int left = 4 * lanes - k * F32::kLanes;
    part[k] = bits_as_i32(left >= F32::kLanes ? F32::load(boxes + k * F32::kLanes)
                          : left > 0          ? F32::load_n(boxes + k * F32::kLanes, left)
                                              : F32::zero());
  }
  I32 x[2], y[2], columns[4];
  deinterleave(part[0], part[1], &x[0], &y[0]);
  deinterleave(part[2], part[3], &x[1], &y[1]);
  deinterleave(x[0], x[1], &columns[0], &columns[2]);
  deinterleave(y[0], y[1], &columns[1], &columns[3]);
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) column[k] = bits_as_f32(columns[k]);
}

// The finite ones of a vector's boxes that no leader surely suppresses, as bits; *unfit: others than 0 where
// float32 may not decide.
inline uint32_t nms_left(const F32 (&b)[4], const NmsLeaders& leaders, uint32_t* unfit) {
  constexpr int kAtOnce = F32::kLanes;  // leaders, before a look whether any of the boxes is left
  const F32 zero = F32::zero(), largest = F32::set(kLargestCoordinate), smallest = F32::set(kSmallestArea);
  const F32 w = b[2] - b[0], h = b[3] - b[1], area = max(zero, w) * max(zero, h);
  const Mask inside =
      (abs(b[0]) <= largest) & (abs(b[1]) <= largest) & (abs(b[2]) <= largest) & (abs(b[3]) <= largest);
  const uint32_t finite = bits(zero == (b[0] - b[0]) + (b[1] - b[1]) + (b[2] - b[2]) + (b[3] - b[3]));
  *unfit |= finite & (~bits(inside) | bits((zero < w) & (zero < h) & (area < smallest)));
  const F32 share = F32::set(leaders.share) * area;
  Mask hit = zero < zero;
  for (int k = 0; k < leaders.count && bits(hit) != kAllLanes; k += kAtOnce) {
    const int end = k + kAtOnce < leaders.count ? k + kAtOnce : leaders.count;
    for (int i = k; i < end; ++i) {
      const float* const a = leaders.box[i];
      const F32 wide = max(zero, min(b[2], F32::set(a[2])) - max(b[0], F32::set(a[0])));
      const F32 high = min(b[3], F32::set(a[3])) - max(b[1], F32::set(a[1]));
      hit = hit | (share + F32::set(a[4]) < wide * high);  // never where high < 0
    }
  }
  return finite & ~bits(hit);
}

inline bool nms_thin(const float* boxes, int64_t begin, int64_t end, const NmsLeaders& leaders,
                     uint64_t* left) {
  uint32_t unfit = 0;
  for (int64_t i = begin; i < end; i += 64) {
    uint64_t word = 0;
    const int64_t count = end - i < 64 ? end - i : 64;
    for_each_vector<float>(count, [&](int64_t at, int lanes) {
      F32 b[4];
      load_columns(boxes + 4 * (i + at), lanes, b);
      word |= (uint64_t{nms_left(b, leaders, &unfit)} & ((uint64_t{1} << lanes) - 1)) << at;
    });
    left[i / 64] = word;
  }
  return unfit == 0;
}

const NmsKernels nms = {F32::kIsaName, nms_greedy<float>, nms_greedy<double>, nms_thin};

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
#include "ops/flow/flow.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

inline void prepare(const FlowTerms& t, int64_t first, int64_t n, float* gx, float* gy, float* rest) {
  const F32 alpha2 = F32::set(t.alpha * t.alpha), one = F32::set(1.0f);
  for_each_vector<float>(n, [&](int64_t i, int lanes) {
    const auto at = [=](const float* field) { return load_lanes(field + first + i, lanes); };
    const F32 ix = at(t.ix), iy = at(t.iy);
    const F32 scale = one / sqrt(alpha2 + ix * ix + iy * iy);
    store_lanes(ix * scale, gx + i, lanes);
    store_lanes(iy * scale, gy + i, lanes);
    store_lanes((at(t.it) - ix * at(t.u0) - iy * at(t.v0)) * scale, rest + i, lanes);
  });
}

// What the means of a vector's pixels are made of: the sums of the neighbours above and below, and these with
// the pixels twice, which the pixels beside them look at.
struct FlowSums {
  F32 beside, all;

  FlowSums(const FlowRows& rows, int64_t i)
      : beside(F32::load(rows.above + i) + F32::load(rows.below + i)),
        all(fma(F32::set(2.0f), F32::load(rows.row + i), beside)) {}
};

class FlowMeans {
 public:
  explicit FlowMeans(const FlowRows& rows) : rows_(rows), before_(rows, -F32::kLanes), here_(rows, 0) {}

  // Of the pixels from i on, the vectors before them having been asked for.
  F32 at(int64_t i) {
    const FlowSums after(rows_, i + F32::kLanes);
    const F32 sides = move_up(before_.all, here_.all) + move_down(here_.all, after.all);
    const F32 mean = fma(F32::set(2.0f), here_.beside, sides) * F32::set(1.0f / 12);
    before_ = here_;
    here_ = after;
    return mean;
  }

 private:
  FlowRows rows_;
  FlowSums before_, here_;
};

inline void step(const FlowRows& u, const FlowRows& v, const float* gx, const float* gy, const float* rest,
                 int64_t n, float* next_u, float* next_v) {
  FlowMeans means_u(u), means_v(v);
  for (int64_t i = 0; i < n; i += F32::kLanes) {
    const int lanes = n - i < F32::kLanes ? static_cast<int>(n - i) : F32::kLanes;
    const F32 mean_u = means_u.at(i), mean_v = means_v.at(i), x = F32::load(gx + i), y = F32::load(gy + i);
    const F32 share = -fma(x, mean_u, fma(y, mean_v, F32::load(rest + i)));
    store_lanes(fma(x, share, mean_u), next_u + i, lanes);
    store_lanes(fma(y, share, mean_v), next_v + i, lanes);
  }
}

// The tracker's products and sums are rounded one by one, never fused, and lane l of every sixteen columns is
// summed apart: every ISA gives the same bits.
constexpr int kSumLanes = 16, kParts = kSumLanes / F32::kLanes;

struct WindowSum {
  F32 part[kParts];

  WindowSum() {
    for (F32& p : part) p = F32::zero();
  }
  float total() const {
    alignas(64) float lane[kSumLanes];
    for (int p = 0; p < kParts; ++p) part[p].store(lane + p * F32::kLanes);
    for (int half = kSumLanes / 2; half > 0; half /= 2)
      for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
    return lane[0];
  }
};

// Calls body(column, lanes, part) for the vectors that cover a row.
template <class Body>
[[gnu::always_inline]] inline void for_each_part(int n, Body body) {
  int j = 0;
  for (; j + kSumLanes <= n; j += kSumLanes) {
#pragma GCC unroll 16
    for (int p = 0; p < kParts; ++p) body(j + p * F32::kLanes, F32::kLanes, p);
  }
#pragma GCC unroll 16
  for (int p = 0; p < kParts; ++p) {
    const int left = n - j - p * F32::kLanes;
    if (left > 0) body(j + p * F32::kLanes, left < F32::kLanes ? left : F32::kLanes, p);
  }
}

class WindowSampler {
 public:
  explicit WindowSampler(const TrackSquare& x) : x_(x) {
    for (int k = 0; k < 4; ++k) weights_[k] = F32::set(x.weights[k]);
  }
  F32 at(int row, int column, int lanes) const {
    const float *upper = x_.pixels + row * x_.pitch + column, *lower = upper + x_.pitch;
    return weights_[0] * load_lanes(upper, lanes) + weights_[1] * load_lanes(upper + 1, lanes) +
           weights_[2] * load_lanes(lower, lanes) + weights_[3] * load_lanes(lower + 1, lanes);
  }

 private:
  TrackSquare x_;
  F32 weights_[4];
};

inline void window_sample(const TrackSquare& x, int side, float* y) {
  const WindowSampler from(x);
  for (int i = 0; i < side; ++i)
    for_each_part(side,
                  [&](int j, int lanes, int) { store_lanes(from.at(i, j, lanes), y + i * side + j, lanes); });
}

inline void window_slopes(const float* patch, int side, float* gx, float* gy) {
  const F32 three = F32::set(3.0f), ten = F32::set(10.0f), unit = F32::set(1.0f / 32);
  for (int i = 0; i < side; ++i) {
    const float *above = patch + i * (side + 2), *here = above + side + 2, *below = here + side + 2;
    for_each_part(side, [&](int j, int lanes, int) {
      const auto at = [=](const float* row, int dx) { return load_lanes(row + j + dx, lanes); };
      const F32 a = at(above, 0), b = at(above, 2), c = at(below, 0), d = at(below, 2);
      const F32 x = three * (b - a + d - c) + ten * (at(here, 2) - at(here, 0));
      const F32 y = three * (c - a + d - b) + ten * (at(below, 1) - at(above, 1));
      store_lanes(x * unit, gx + i * side + j, lanes);
      store_lanes(y * unit, gy + i * side + j, lanes);
    });
  }
}

inline void window_moments(const float* gx, const float* gy, int side, float* sums) {
  WindowSum xx, xy, yy;
  for (int i = 0; i < side; ++i)
    for_each_part(side, [&](int j, int lanes, int p) {
      const F32 x = load_lanes(gx + i * side + j, lanes), y = load_lanes(gy + i * side + j, lanes);
      xx.part[p] = xx.part[p] + x * x;
      xy.part[p] = xy.part[p] + x * y;
      yy.part[p] = yy.part[p] + y * y;
    });
  sums[0] = xx.total(), sums[1] = xy.total(), sums[2] = yy.total();
}

inline void window_project(const TrackSquare& x, const float* a, const float* gx, const float* gy, int side,
                           float* sums) {
  const WindowSampler from(x);
  WindowSum by_x, by_y;
  for (int i = 0; i < side; ++i)
    for_each_part(side, [&](int j, int lanes, int p) {
      const int k = i * side + j;
      const F32 difference = load_lanes(a + k, lanes) - from.at(i, j, lanes);
      by_x.part[p] = by_x.part[p] + difference * load_lanes(gx + k, lanes);
      by_y.part[p] = by_y.part[p] + difference * load_lanes(gy + k, lanes);
    });
  sums[0] = by_x.total(), sums[1] = by_y.total();
}

inline float window_difference(const TrackSquare& x, const float* a, int side) {
  const WindowSampler from(x);
  WindowSum sum;
  for (int i = 0; i < side; ++i)
    for_each_part(side, [&](int j, int lanes, int p) {
      sum.part[p] = sum.part[p] + abs(load_lanes(a + i * side + j, lanes) - from.at(i, j, lanes));
    });
  return sum.total();
}

const FlowKernels flow = {F32::kIsaName, prepare,        step,           window_sample,
                          window_slopes, window_moments, window_project, window_difference};

}  // namespace pyvision::PYVISION_ISA_NS

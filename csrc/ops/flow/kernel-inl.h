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

const FlowKernels flow = {F32::kIsaName, prepare, step};

}  // namespace pyvision::PYVISION_ISA_NS

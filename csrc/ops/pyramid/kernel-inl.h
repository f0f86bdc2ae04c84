// SPDX-License-Identifier: Apache-2.0
#include "ops/pyramid/pyramid.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Products and sums are rounded one by one, never fused: every ISA gives the same bits.

inline void weigh5(const float* const* x, float scale, int64_t n, float* y) {
  const F32 four = F32::set(4.0f), six = F32::set(6.0f), unit = F32::set(scale);
  for_each_vector<float>(n, [&](int64_t k, int lanes) {
    const auto at = [=](int i) { return load_lanes(x[i] + k, lanes); };
    store_lanes((at(0) + at(4) + four * (at(1) + at(3)) + six * at(2)) * unit, y + k, lanes);
  });
}

inline void weigh3(const float* before, const float* here, const float* behind, int64_t n, float* y) {
  const F32 six = F32::set(6.0f), eighth = F32::set(1.0f / 8);
  for_each_vector<float>(n, [&](int64_t k, int lanes) {
    const auto at = [=](const float* x) { return load_lanes(x + k, lanes); };
    store_lanes((at(before) + six * at(here) + at(behind)) * eighth, y + k, lanes);
  });
}

inline void mean2(const float* here, const float* behind, int64_t n, float* y) {
  const F32 half = F32::set(1.0f / 2);
  for_each_vector<float>(n, [&](int64_t k, int lanes) {
    store_lanes((load_lanes(here + k, lanes) + load_lanes(behind + k, lanes)) * half, y + k, lanes);
  });
}

const PyramidKernels pyramid = {F32::kIsaName, weigh5, weigh3, mean2};

}  // namespace pyvision::PYVISION_ISA_NS

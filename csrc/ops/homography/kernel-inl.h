// SPDX-License-Identifier: Apache-2.0
#include "ops/homography/homography.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Products and sums are rounded one by one, as everywhere: which pairs are inliers does not hang on the
// machine.
inline void count_inliers(const PointColumns& points, const float* transforms, float limit, int64_t* counts) {
  for (int k = 0; k < kHypotheses; ++k) counts[k] = 0;
  for_each_vector<float>(points.n, [&](int64_t i, int lanes) {
    const F32 x = load_lanes(points.x + i, lanes), y = load_lanes(points.y + i, lanes);
    const F32 u = load_lanes(points.u + i, lanes), v = load_lanes(points.v + i, lanes);
    const uint32_t valid = (uint32_t{1} << lanes) - 1;
    for (int k = 0; k < kHypotheses; ++k) {
      const float* const h = transforms + 9 * k;
      const auto row = [&](int r) {
        return F32::set(h[r]) * x + F32::set(h[r + 1]) * y + F32::set(h[r + 2]);
      };
      const F32 w = row(6), dx = row(0) - u * w, dy = row(3) - v * w;
      // Without a division: error^2 = (dx^2 + dy^2) / w^2. A point at infinity has w = 0 and is none.
      const auto near = (dx * dx + dy * dy <= F32::set(limit) * w * w) & (F32::zero() < w * w);
      counts[k] += __builtin_popcount(bits(near) & valid);
    }
  });
}

const HomographyKernels homography = {F32::kIsaName, count_inliers};

}  // namespace pyvision::PYVISION_ISA_NS

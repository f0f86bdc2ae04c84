// SPDX-License-Identifier: Apache-2.0
#include "ops/orb/params.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "ops/brief/params.h"

namespace pyvision {

float OrbParams::scale_of(int64_t l) const {
  return static_cast<float>(std::pow(static_cast<double>(scale), static_cast<double>(l)));
}

int64_t OrbParams::extent(int64_t n, int64_t l) const {
  return static_cast<int64_t>(std::nearbyint(static_cast<float>(n) / scale_of(l)));
}

std::vector<int64_t> OrbParams::shares() const {
  if (max_features == 0) return std::vector<int64_t>(static_cast<size_t>(levels), int64_t{1} << 40);
  const auto factor = static_cast<float>(1.0 / static_cast<double>(scale));
  float share = static_cast<float>(max_features) * (1 - factor) /
                (1 - static_cast<float>(std::pow(static_cast<double>(factor), static_cast<double>(levels))));
  std::vector<int64_t> counts;
  int64_t left = max_features;
  for (int64_t l = 0; l + 1 < levels; ++l) {
    counts.push_back(std::min(left, static_cast<int64_t>(std::nearbyint(share))));
    left -= counts.back();
    share *= factor;
  }
  counts.push_back(left);
  return counts;
}

OrbParams orb_params(int64_t max_features, double scale, int64_t levels, int64_t edge, int64_t threshold) {
  constexpr const char* kOp = "ORB";
  OrbParams params;
  check(max_features >= 0 && max_features <= (int64_t{1} << 30), kOp,
        "expected max_features in [0, 2^30], got ", max_features);
  params.max_features = max_features;
  params.scale = static_cast<float>(scale);
  check(params.scale > 1 && params.scale <= 2, kOp, "expected scale_factor in (1, 2], got ", scale);
  check(levels >= 1 && levels <= kMaxOrbLevels, kOp, "expected levels in [1, ", kMaxOrbLevels, "], got ",
        levels);
  params.levels = levels;
  check(edge >= kBriefReach && edge <= (int64_t{1} << 30), kOp, "expected edge_threshold of at least ",
        kBriefReach, ", got ", edge);
  params.edge = edge;
  check(threshold >= 0 && threshold <= 255, kOp, "expected threshold in [0, 255], got ", threshold);
  params.threshold = static_cast<uint8_t>(threshold);
  return params;
}

}  // namespace pyvision

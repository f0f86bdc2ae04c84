// SPDX-License-Identifier: Apache-2.0
// What orb.h is asked for, and what follows from it alone.
#pragma once

#include <cstdint>
#include <vector>

namespace pyvision {

constexpr int64_t kMaxOrbLevels = 32;
constexpr float kOrbPatch = 31;  // of a keypoint in its level: its size

struct OrbParams {
  int64_t max_features = 500;  // 0: all
  float scale = 1.2f;          // (1, 2]
  int64_t levels = 8;          // [1, kMaxOrbLevels]
  int64_t edge = 31;           // at least kBriefReach
  uint8_t threshold = 20;

  // Pixels of the image to one of level l.
  float scale_of(int64_t l) const;
  // Of the image's extent, in level l.
  int64_t extent(int64_t n, int64_t l) const;
  // How many features each level is to have at most.
  std::vector<int64_t> shares() const;
};

// Refuses numbers that are out of range.
OrbParams orb_params(int64_t max_features, double scale, int64_t levels, int64_t edge, int64_t threshold);

}  // namespace pyvision

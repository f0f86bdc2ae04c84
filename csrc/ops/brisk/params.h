// SPDX-License-Identifier: Apache-2.0
// What brisk.h is asked for, and the numbers that follow from it.
#pragma once

#include <cstdint>
#include <vector>

namespace pyvision {

constexpr int kBriskPoints = 60, kBriskPadded = 64, kBriskPairs = 512;
constexpr int64_t kMaxBriskOctaves = 8;
constexpr float kBriskCornerSize = 12;  // of a corner in the picture itself
constexpr float kBriskSizePerT = 7.2f;
constexpr double kBriskBelow = 0.7;  // the scale at which the picture's 5-8 scores count

struct BriskParams {
  uint8_t threshold = 30;
  int64_t octaves = 3;  // 0: the picture alone
};

// Refuses numbers that are out of range.
BriskParams brisk_params(int64_t max_features, int64_t threshold, int64_t octaves);

struct BriskLayer {
  int64_t h, w;
  double scale;
  double step_x, step_y;  // pixels of the picture per pixel of the layer, as it was rounded
};

// Those that are large enough for corners. The second is made of the first, each later one of the one two
// before.
std::vector<BriskLayer> brisk_layers(int64_t h, int64_t w, int64_t octaves);

// The pattern in units of t; the last four points repeat the first.
struct BriskPattern {
  float x[kBriskPadded], y[kBriskPadded], half[kBriskPadded];
  float turn_x[kBriskPoints], turn_y[kBriskPoints];  // a point's weight in the direction
  uint8_t first[kBriskPairs], second[kBriskPairs];
  float reach;  // of the squares, however turned
};

const BriskPattern& brisk_pattern();

}  // namespace pyvision

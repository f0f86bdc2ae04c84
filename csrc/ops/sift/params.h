// SPDX-License-Identifier: Apache-2.0
// What sift.h is asked for, and the numbers that follow from it.
#pragma once

#include <cstdint>

namespace pyvision {

constexpr int kMaxBlurRadius = 64, kSiftValues = 128, kSiftAngleBins = 36;
constexpr int64_t kSiftBorder = 5;  // of an image, in which no extremum is looked for

struct SiftParams {
  int64_t max_features = 0;  // 0: all
  int64_t layers = 3;        // [1, 8]
  double contrast = 0.04, edge = 10, sigma = 1.6;

  // What makes image i of an octave from the one before; the first from the doubled picture.
  double blur(int64_t i) const;
  // How great a difference of neighbouring images has to be, of grey in [0, 255].
  float least_difference() const;
};

// Refuses numbers that are out of range.
SiftParams sift_params(int64_t max_features, int64_t layers, double contrast, double edge, double sigma);

// Octaves are halved until the smaller side has about four pixels.
int64_t sift_octaves(int64_t h, int64_t w);

// Half of a Gaussian's taps, from the middle on.
struct SiftTaps {
  float values[kMaxBlurRadius + 1];
  int64_t radius;

  explicit SiftTaps(double sigma);
};

}  // namespace pyvision

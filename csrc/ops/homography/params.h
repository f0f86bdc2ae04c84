// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace pyvision {

constexpr double kMostCoordinate = 1e15;  // the squares of what follows are far from infinity

constexpr int64_t kMostIterations = (int64_t{1} << 31) - 1;

constexpr int kHypotheses = 8;  // samples of a round: between rounds it is asked whether more are needed

// Row by row; affine ones end in (0, 0, 1).
struct PlaneTransform {
  double h[9];
};

struct RansacParams {
  bool affine = false;
  bool robust = true;             // without: least squares over all pairs
  double threshold = 3.0;         // in dst's units
  int64_t max_iterations = 2000;  // [1, kMostIterations]
  double confidence = 0.995;      // [0, 1)
  uint64_t seed = 0;

  const char* op() const { return affine ? "find_affine" : "find_homography"; }
};

// Throws where one is out of range.
void check_params(const RansacParams& params);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// homography on the device: what csrc/ops/homography/homography.h says, with its samples, its arithmetic
// (csrc/ops/homography/plane.h) and its order of decisions. Sums over pairs are those of a block, in a fixed
// order of their own.
//
// Samples are drawn and scored in batches, a warp for each; one block then goes through a batch's counts as
// the CPU goes through its rounds, and decides when it ends. Batches that come later find that out
// themselves, so that nothing is read back.
#pragma once

#include <cstdint>

#include "common/device.h"
#include "ops/homography/params.h"

namespace pyvision::cuda {

struct PointArray {
  const void* data = nullptr;  // (n, 2)
  bool doubles = false;        // else float
};

// What becomes of a call; a Python wrapper reads it.
enum class TransformStatus : int32_t { kNone, kFound, kBadSrc, kBadDst, kSearching };

struct TransformProblem {
  PointArray src, dst;
  int64_t n = 0;
  RansacParams params;
};

size_t find_transform_workspace_bytes(const TransformProblem& problem);
// matrix: (3, 3), written where one is found; inliers: (n,); status: (1,)
void find_transform(const Stream& stream, const TransformProblem& problem, void* workspace, double* matrix,
                    uint8_t* inliers, TransformStatus* status);

}  // namespace pyvision::cuda

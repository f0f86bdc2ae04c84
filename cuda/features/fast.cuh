// SPDX-License-Identifier: Apache-2.0
// fast on the device: what csrc/ops/fast/fast.h says.
#pragma once

#include "common/device.h"
#include "features/levels.cuh"

namespace pyvision::cuda {

struct CornerSearch {
  int circle = 16;  // 16, 12 or 8
  int threshold = 20;
  bool suppress = true;
  int32_t edge = 3;  // at least: pixels between a corner and its level's border
  Allowed allowed;   // of the picture itself
};

struct FastProblem {
  Level picture;
  CornerSearch search;
  int64_t max_features = 0;  // 0: all

  int64_t room() const;
};
size_t fast_workspace_bytes(const FastProblem& problem);
void fast(const char* op, const Stream& stream, const FastProblem& problem, void* workspace,
          const KeypointColumns& keypoints);

}  // namespace pyvision::cuda

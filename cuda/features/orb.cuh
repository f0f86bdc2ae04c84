// SPDX-License-Identifier: Apache-2.0
// orb on the device: what csrc/ops/orb/orb.h says. All levels go through each step together.
#pragma once

#include "common/device.h"
#include "features/brief.cuh"
#include "features/levels.cuh"
#include "ops/orb/params.h"

namespace pyvision::cuda {

struct OrbProblem {
  Level picture;
  Allowed allowed;
  OrbParams params;

  // The levels' extents and scales; memory is the picture's alone.
  Levels levels() const;
  int64_t room() const;
};

size_t orb_workspace_bytes(const Stream& stream, const OrbProblem& problem);
// descriptors: (room, 32), or null
void orb(const char* op, const Stream& stream, const OrbProblem& problem, void* workspace,
         const KeypointColumns& keypoints, uint8_t* descriptors);

// At given keypoints, as brief() says.
size_t orb_describe_workspace_bytes(const OrbProblem& problem, const GivenKeypoints& keypoints);
void orb_describe(const char* op, const Stream& stream, const OrbProblem& problem,
                  const GivenKeypoints& keypoints, void* workspace, int64_t* kept, int32_t* count,
                  uint8_t* descriptors);

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
// surf on the device: what csrc/ops/surf/surf.h says. How many maxima there are decides what memory keypoints
// take: the caller reads the number back between the two steps.
#pragma once

#include "common/device.h"
#include "features/integral.cuh"
#include "features/levels.cuh"

namespace pyvision::cuda {

struct SurfProblem {
  const void* picture = nullptr;  // (h, w): bytes or floats on the scale 0 to 255
  bool floats = false;
  int32_t h = 0, w = 0;
  Allowed allowed;
  float threshold = 100;
  int octaves = 4;  // [1, 4]
  bool upright = false, extended = false;

  int length() const { return extended ? 128 : 64; }  // of a descriptor
};

size_t surf_search_bytes(const SurfProblem& problem);
// The integral image, the responses and their maxima; count: (1,), how many.
void surf_search(const char* op, const Stream& stream, const SurfProblem& problem, void* search,
                 int32_t* count);

size_t surf_put_bytes(const Stream& stream, int64_t maxima);
// The strongest of them, as many as there is room for; descriptors: (room, length), or null
void surf_put(const char* op, const Stream& stream, const SurfProblem& problem, void* search, int64_t maxima,
              void* workspace, const KeypointColumns& keypoints, float* descriptors);

size_t surf_describe_bytes(const SurfProblem& problem, const GivenKeypoints& keypoints);
// kept: (n,) indices of keypoints that can be described, of which there are count: (1,)
void surf_describe(const char* op, const Stream& stream, const SurfProblem& problem,
                   const GivenKeypoints& keypoints, void* workspace, int64_t* kept, int32_t* count,
                   float* descriptors);

// ---- what its parts share ----

// angle: (room,), of the first count: (1,) keypoints
void orient_surf(const char* op, const Stream& stream, const IntegralSums& sums,
                 const KeypointColumns& keypoints);
void describe_surf(const char* op, const Stream& stream, const IntegralSums& sums,
                   const GivenKeypoints& keypoints, const int64_t* which, const int32_t* count, bool extended,
                   float* descriptors);

}  // namespace pyvision::cuda

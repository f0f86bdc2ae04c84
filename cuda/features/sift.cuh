// SPDX-License-Identifier: Apache-2.0
// sift on the device: what csrc/ops/sift/sift.h says. How many extrema and then how many keypoints there are
// decides what memory the next step takes, so there are three, and the caller reads a number back between
// them.
#pragma once

#include "common/device.h"
#include "features/levels.cuh"
#include "ops/sift/params.h"

namespace pyvision::cuda {

struct SiftOctave {
  float* data = nullptr;  // (layers + 3, h, w)
  int32_t h = 0, w = 0;
};

struct SiftPyramid {
  int count = 0, layers = 0;
  double sigma = 0;
  SiftOctave of[kMaxLevels];
};

struct SiftProblem {
  const void* picture = nullptr;  // (h, w): bytes or floats on the scale 0 to 255
  bool floats = false;
  int64_t h = 0, w = 0;  // fewer than 2^26 pixels
  Allowed allowed;
  SiftParams params;
};

// Memory where the extents alone matter may be null.
SiftPyramid sift_pyramid(const SiftProblem& problem, void* memory);
size_t sift_pyramid_bytes(const SiftProblem& problem);
void fill_sift_pyramid(const char* op, const Stream& stream, const SiftProblem& problem,
                       const SiftPyramid& pyramid);

size_t sift_search_bytes(const SiftProblem& problem);
// The pyramid and its extrema; count: (1,), how many.
void sift_search(const char* op, const Stream& stream, const SiftProblem& problem, void* search,
                 int32_t* count);

size_t sift_rate_bytes(const Stream& stream, int64_t extrema);
// Refined, sorted, with their angles; count: (1,), how many keypoints.
void sift_rate(const char* op, const Stream& stream, const SiftProblem& problem, void* search,
               int64_t extrema, void* rated, int32_t* count);

// As many keypoints as there is room for.
void sift_put(const char* op, const Stream& stream, int64_t extrema, void* rated,
              const KeypointColumns& keypoints);

// Descriptors (n, 128) of keypoints that lie in the picture and have a size that the pyramid has. which:
// indices of keypoints, or null: all; count: (1,), of at most n. root: RootSIFT
void describe_sift(const char* op, const Stream& stream, const SiftPyramid& pyramid,
                   const GivenKeypoints& keypoints, const int64_t* which, const int32_t* count, bool root,
                   float* descriptors);

size_t sift_describe_bytes(const SiftProblem& problem, const GivenKeypoints& keypoints);
// kept: (n,) indices of keypoints that can be described, of which there are count: (1,)
void sift_describe(const char* op, const Stream& stream, const SiftProblem& problem,
                   const GivenKeypoints& keypoints, bool root, void* workspace, int64_t* kept, int32_t* count,
                   float* descriptors);

}  // namespace pyvision::cuda

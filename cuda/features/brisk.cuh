// SPDX-License-Identifier: Apache-2.0
// brisk on the device: what csrc/ops/brisk/brisk.h says. How many keypoints there are decides what memory
// they take: the caller reads the number back between the two steps.
#pragma once

#include "common/device.h"
#include "features/levels.cuh"
#include "ops/brisk/params.h"

namespace pyvision::cuda {

struct BriskProblem {
  Level picture;
  Allowed allowed;
  BriskParams params;
};

size_t brisk_search_bytes(const BriskProblem& problem);
// The layers, their corners and what becomes of them between pixels and layers; count: (1,), how many stay.
void brisk_search(const char* op, const Stream& stream, const BriskProblem& problem, void* search,
                  int32_t* count);

size_t brisk_put_bytes(const Stream& stream, int64_t number);
// The strongest of the number found, as many as there is room for; descriptors: (room, 64), or null
void brisk_put(const char* op, const Stream& stream, const BriskProblem& problem, void* search,
               int64_t number, void* workspace, const KeypointColumns& keypoints, uint8_t* descriptors);

size_t brisk_describe_bytes(const Level& picture, const GivenKeypoints& keypoints);
// kept: (n,) indices of keypoints whose pattern lies in the picture, of which there are count: (1,);
// angles: (n,), those of the kept ones, found where they are negative
void brisk_describe(const char* op, const Stream& stream, const Level& picture,
                    const GivenKeypoints& keypoints, void* workspace, int64_t* kept, int32_t* count,
                    float* angles, uint8_t* descriptors);

}  // namespace pyvision::cuda

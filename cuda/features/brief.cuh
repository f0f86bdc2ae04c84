// SPDX-License-Identifier: Apache-2.0
// brief on the device: what csrc/ops/brief/brief.h says, on the levels of a pyramid.
//
// A warp describes a keypoint: a lane compares one pair of pixels at a time, and a vote makes 32 of them a
// word.
#pragma once

#include "common/device.h"
#include "features/levels.cuh"
#include "ops/brief/params.h"

namespace pyvision::cuda {

// Handed to kernels by value: they fit the memory for arguments, and nothing has to be uploaded.
struct PointPairs {
  int32_t count = 0;             // a multiple of 32
  int8_t of[4][kBriefMaxTests];  // ax, ay, bx, by
};

struct BriefProblem {
  Levels levels;  // the first is the picture
  PointPairs pairs;
  GivenKeypoints keypoints;
  bool turned = true;  // by the keypoints' angles
};
size_t brief_workspace_bytes(const BriefProblem& problem);
// kept: (n,) indices of keypoints whose patch lies in their level, of which there are count: (1,);
// descriptors: (n, pairs / 8)
void brief(const char* op, const Stream& stream, const BriefProblem& problem, void* workspace, int64_t* kept,
           int32_t* count, uint8_t* descriptors);

// The same at places that are known to fit. blurred: the levels after blur_grey; which: indices of keypoints,
// or null: all; count: (1,), of at most n descriptors
void describe_pairs(const char* op, const Stream& stream, const Levels& blurred, const PointPairs& pairs,
                    const GivenKeypoints& keypoints, const int64_t* which, const int32_t* count,
                    uint8_t* descriptors);

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
// corners on the device: what csrc/ops/corners/corners.h says, to the bit. How many there are decides what
// memory keypoints take: the caller reads the number back between the two steps.
#pragma once

#include "common/device.h"
#include "features/levels.cuh"

namespace pyvision::cuda {

constexpr int kMostCornerBlock = 31;

struct HarrisProblem {
  const void* picture = nullptr;  // (h, w): bytes or floats on the scale 0 to 255
  bool floats = false;
  int32_t h = 0, w = 0;
  bool harris = true;  // or the lesser eigenvalue
  float k = 0.04f;
  int block = 3;  // [1, kMostCornerBlock]
  double quality = 0.01;
  Allowed allowed;
};

// y: (h, w)
void corner_response(const char* op, const Stream& stream, const HarrisProblem& problem, float* y);

size_t harris_search_bytes(const HarrisProblem& problem);
// The responses and their maxima; count: (1,), how many.
void harris_search(const char* op, const Stream& stream, const HarrisProblem& problem, void* search,
                   int32_t* count);

size_t harris_put_bytes(const Stream& stream, int64_t maxima);
// The strongest of them by falling response, as many as there is room for.
void harris_put(const char* op, const Stream& stream, const HarrisProblem& problem, void* search,
                int64_t maxima, void* workspace, const KeypointColumns& keypoints);

// Points xy (n, 2) of which each lies `distance` or more from all kept ones of greater response (n,).
struct ApartProblem {
  const float *xy = nullptr, *response = nullptr;
  int64_t n = 0, max_output = INT64_MAX;
  double distance = 0;
};
size_t keep_apart_workspace_bytes(const Stream& stream, const ApartProblem& problem);
// keep: (n,), their indices by falling response, then -1; count: (1,)
void keep_apart(const char* op, const Stream& stream, const ApartProblem& problem, void* workspace,
                int64_t* keep, int64_t* count);

}  // namespace pyvision::cuda

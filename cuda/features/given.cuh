// SPDX-License-Identifier: Apache-2.0
// Given keypoints: which of them are described, and what their descriptors are made from.
#pragma once

#include "features/integral.cuh"
#include "features/lists.cuh"

namespace pyvision::cuda {

struct PutIndex {
  int64_t* kept;
  __device__ void operator()(int, int64_t i, int32_t place) const { kept[place] = i; }
};

// kept: (n,) indices of those that keep(0, index) says, in their order, of which there are count: (1,)
template <class Keep>
void list_kept(const char* op, const Stream& stream, const Marks& marks, const Keep& keep, int64_t* kept,
               int32_t* count) {
  mark(op, stream, marks, keep);
  list(op, stream, marks, PutIndex{kept});
  put_total(op, stream, marks, count);
}

// For descriptors from an integral image.
struct DescribeSpace {
  Workspace workspace;
  IntegralSpace integral;
  Marks marks;

  DescribeSpace(int32_t h, int32_t w, bool floats, const GivenKeypoints& keypoints, void* memory)
      : workspace(memory), integral(&workspace, h, w, floats), marks(&workspace, Chunks(keypoints.n)) {}
};

}  // namespace pyvision::cuda

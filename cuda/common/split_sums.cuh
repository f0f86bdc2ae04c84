// SPDX-License-Identifier: Apache-2.0
// Sums over very many terms: each split of them is summed by itself, then the splits in rising order.
#pragma once

#include "common/launch.cuh"
#include "common/numbers.cuh"
#include "common/workspace.h"

namespace pyvision::cuda {

constexpr int kSplitThreads = 256;

// How many splits of `terms` give every processor `blocks_each` blocks, where there are `blocks` without
// them.
inline int splits_for(const Stream& stream, int64_t blocks, int blocks_each, int64_t terms,
                      int64_t least_terms, int most) {
  if (blocks == 0) return 1;
  const int64_t wanted = int64_t{blocks_each} * multiprocessors(stream.device) / blocks;
  const int64_t possible = terms / least_terms, splits = wanted < possible ? wanted : possible;
  return static_cast<int>(splits < 1 ? 1 : splits > most ? most : splits);
}

inline size_t split_bytes(int splits, int64_t count) {
  Workspace workspace;
  workspace.take<float>(splits * count);
  return workspace.bytes();
}

// partial: (splits, count)
template <class T>
__global__ void add_splits_kernel(const float* partial, int splits, int64_t count, T* sums) {
  const int64_t at = int64_t{blockIdx.x} * kSplitThreads + threadIdx.x;
  if (at >= count) return;
  float sum = 0;
  for (int split = 0; split < splits; ++split) sum += partial[split * count + at];
  sums[at] = from_float<T>(sum);
}

template <class T>
void add_splits(const char* op, const Stream& stream, const float* partial, int splits, int64_t count,
                T* sums) {
  launch(op, stream, {blocks_of(count, kSplitThreads), kSplitThreads}, add_splits_kernel<T>, partial, splits,
         count, sums);
}

}  // namespace pyvision::cuda

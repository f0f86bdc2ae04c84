// SPDX-License-Identifier: Apache-2.0
// Work shared out as rows of items. What belongs to a row is computed once for several items, and where an
// item lies takes 32-bit divisions at most: with 64-bit ones, kernels that do little else would not keep
// memory busy.
#pragma once

#include "common/launch.cuh"
#include "core/check.h"

namespace pyvision::cuda {

constexpr int kRowThreads = 256;
constexpr int kItemsEach = 4;  // of a thread: enough to pay for its row, and few enough to fill the device

struct RowGrid {
  int items;           // of a row
  unsigned stretches;  // blocks to a row
  int64_t rows;
  unsigned threads;

  RowGrid(const char* op, int64_t row_count, int64_t items_of_row) : rows(row_count) {
    constexpr int64_t kMost = INT32_MAX;
    check(items_of_row <= kMost, op, "expected rows of fewer than 2^31 values, got ", items_of_row);
    items = static_cast<int>(items_of_row);
    // Short rows get small blocks.
    const int64_t wanted = (items_of_row + 32 * kItemsEach - 1) / (32 * kItemsEach) * 32;
    threads = static_cast<unsigned>(wanted < 32 ? 32 : wanted > kRowThreads ? kRowThreads : wanted);
    stretches = blocks_of(items_of_row, int64_t{threads} * kItemsEach);
    check(rows * stretches <= kMost, op, "expected an output of fewer than 2^31 rows, got ", rows);
  }
  LaunchShape shape() const { return {static_cast<unsigned>(rows * stretches), threads}; }
};

// A thread's items: first, first + step, … below end.
struct RowItems {
  int64_t row;
  int first, end, step;

  __device__ explicit RowItems(const RowGrid& grid) {
    const unsigned stretch = blockIdx.x % grid.stretches;
    row = blockIdx.x / grid.stretches;
    step = static_cast<int>(blockDim.x);
    const int64_t begin = int64_t{stretch} * step * kItemsEach, stop = begin + int64_t{step} * kItemsEach;
    first = static_cast<int>(begin) + static_cast<int>(threadIdx.x);
    end = static_cast<int>(stop < grid.items ? stop : grid.items);
  }
};

}  // namespace pyvision::cuda

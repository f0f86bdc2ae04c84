// SPDX-License-Identifier: Apache-2.0
// Greedy suppression over a grid, on all threads. For files built for the baseline.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/arena.h"
#include "core/parallel.h"
#include "ops/nms/grid.h"

namespace pyvision {

// Among boxes (n, stride) by falling score; survives: (n,), receives 0 or 1. Candidates come in ever larger
// shares. Where few of the last one were kept, all threads hold the next one against what earlier shares
// kept, before what then is left decides among itself, on one.
template <class T, class Block>
void nms_over_grid(NmsGreedy<T, Block> kernel, const T* boxes, int64_t n, int64_t stride, T threshold,
                   int64_t limit, uint8_t* survives) {
  constexpr int64_t kFirst = 1024, kGrain = 512;  // some 20 us
  const NmsGridPlan plan = plan_nms_grid(boxes, n, stride);
  const int64_t cells = int64_t{plan.grid.cells_x} * plan.grid.cells_y;
  Scratch<int32_t> heads(cells);
  Scratch<Block> blocks(plan.blocks);
  std::fill_n(heads.get(), cells, -1);
  std::fill_n(survives, n, uint8_t{1});
  NmsKept<Block> kept = {plan.grid, heads.get(), blocks.get()};
  bool few = false;
  for (int64_t begin = 0, end; begin < n; begin = end) {
    end = num_threads() == 1 ? n : std::min(n, 2 * begin + kFirst);
    if (few)
      parallel_for(end - begin, kGrain, [&](int64_t first, int64_t last) {
        kernel(boxes, begin + first, begin + last, threshold, &kept, nullptr, survives);
      });
    const int64_t before = limit;
    kernel(boxes, begin, end, threshold, &kept, &limit, survives);
    few = 4 * (before - limit) < end - begin;  // those that are kept are looked at twice
  }
}

}  // namespace pyvision

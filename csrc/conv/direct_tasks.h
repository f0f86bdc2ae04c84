// SPDX-License-Identifier: Apache-2.0
// A direct convolution as tasks: groups x row tiles x panels, whatever its types.
#pragma once

#include <algorithm>

#include "conv/gemm.h"
#include "conv/plan.h"
#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {

template <class T>
Nhwc<T> channel_slice(Nhwc<T> map, int64_t first, int64_t count) {
  map.data += first;
  map.c = count;
  return map;
}

// all: the convolution as if it had one group; k, out_channels: of a group. at(g, &job) moves to group g what
// is per group besides the maps: the weights and the epilogue.
template <class Job, class At>
void run_direct_tasks(const Job& all, int64_t groups, const TileShape& tile,
                      void (*kernel)(const Job& job, int64_t first_tile, int64_t last_tile,
                                     int64_t panel_begin, int64_t panel_end, float* scratch),
                      At at) {
  using E = typename Job::Epilogue;
  const int64_t row_count = all.rows.output.pixels(), group_in = all.input.c / groups;
  const int64_t k_words = (all.k + tile.depth - 1) / tile.depth;
  const DirectPlan plan = plan_direct(row_count, all.out_channels, k_words, groups,
                                      {tile.row_tile, tile.panel_width, /*lanes=*/0, num_threads()});
  const int64_t tasks_per_group = plan.tile_tasks * plan.panel_tasks;
  const int64_t group_rows = kTileGroup * tile.row_tile;
  int64_t scratch_words = group_rows * tile.stride;
  if (!std::is_same_v<typename E::Sum, typename E::Out> &&
      k_block_size(all.k, tile.row_tile, tile.depth) < all.k)
    scratch_words += group_rows * plan.panels_per_task * tile.panel_width;
  parallel_for(groups * tasks_per_group, 1, [&](int64_t begin, int64_t end) {
    const Scratch<float> scratch(scratch_words);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t g = task / tasks_per_group;                    // [0, groups)
      const int64_t t = task % tasks_per_group % plan.tile_tasks;  // [0, tile_tasks)
      const int64_t p = task % tasks_per_group / plan.tile_tasks;  // [0, panel_tasks)
      Job job = all;
      job.input = channel_slice(all.input, g * group_in, group_in);
      job.rows.output = channel_slice(all.rows.output, g * all.out_channels, all.out_channels);
      if (all.rows.residual.data != nullptr)
        job.rows.residual = channel_slice(all.rows.residual, g * all.out_channels, all.out_channels);
      at(g, &job);
      job.row_count = row_count;
      job.row_tiles = plan.row_tiles;
      job.rows_base = row_count / plan.row_tiles, job.rows_extra = row_count % plan.row_tiles;
      job.panels_in_l2 = plan.panels_in_l2;
      kernel(job, t * plan.tiles_per_task, std::min((t + 1) * plan.tiles_per_task, plan.row_tiles),
             p * plan.panels_per_task, std::min((p + 1) * plan.panels_per_task, plan.panels), scratch);
    }
  });
}

}  // namespace pyvision

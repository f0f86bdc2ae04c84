// SPDX-License-Identifier: Apache-2.0
// Which algorithm a convolution uses, and how its work is cut into tasks.
#pragma once

#include <cstdint>

#include "ops/conv2d/conv2d.h"
#include "ops/conv2d/kernels.h"

namespace pyvision {

struct ConvMachine {
  int64_t row_tile, panel_width, lanes;  // of the kernels
  int threads;
};

// These kernels, and the threads there are.
ConvMachine conv_machine(const Conv2dKernels& kernels);

// What kAuto becomes for inputs of h x w (0 where unknown). Throws std::invalid_argument when the algorithm
// asked for cannot do this convolution.
Conv2dAlgorithm choose_conv2d_algorithm(const Conv2dParams& params, Conv2dAlgorithm algorithm, int64_t h,
                                        int64_t w, const ConvMachine& machine);
// m of F(m x m, 3x3); 0 for the algorithms that are not Winograd's.
int winograd_outputs(Conv2dAlgorithm algorithm);

// A grid of tile_tasks x panel_tasks tasks per group.
struct DirectPlan {
  int64_t row_tiles, panels;
  int64_t tiles_per_task, panels_per_task;
  int64_t tile_tasks, panel_tasks;
  bool panels_in_l2;
};
DirectPlan plan_direct(int64_t rows, int64_t out_channels, int64_t k, int64_t groups,
                       const ConvMachine& machine);

// A grid of k_tasks x out_tasks tasks per group, each a block of the weight's gradient.
struct WeightGradPlan {
  int64_t k_per_task, k_tasks;  // whole panels, at most a K block
  int64_t out_per_task, out_tasks;
};
WeightGradPlan plan_weight_grad(int64_t pixels, int64_t out_channels, int64_t k, int64_t groups,
                                const ConvMachine& machine);

// Winograd tiles per block: transformed input and products of one block stay in L2. Where there are fewer
// blocks than threads want, or a block's weights come from memory, the threads share each block's stages
// instead of taking a block each.
struct WinogradPlan {
  int64_t tiles_per_block, blocks;
  bool share_blocks;
};
WinogradPlan plan_winograd(int m, int64_t tiles, int64_t in_channels, int64_t out_channels,
                           const ConvMachine& machine);

int64_t depthwise_rows_per_task(int64_t rows, int64_t row_cost);

}  // namespace pyvision

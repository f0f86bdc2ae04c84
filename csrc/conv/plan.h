// SPDX-License-Identifier: Apache-2.0
// Which algorithm a convolution uses, and how its work is cut into tasks.
#pragma once

#include <cstdint>

#include "ops/conv2d/conv2d.h"

namespace pyvision {

enum class ConvMethod : uint8_t { kDirect, kDepthwise, kWinograd };

const char* conv_method_name(ConvMethod method);
// h, w: the input's extents where they are known, else 0. Throws std::invalid_argument when the algorithm
// asked for cannot do this convolution.
ConvMethod choose_conv_method(const Conv2dParams& params, Conv2dAlgorithm algorithm, int64_t h, int64_t w);

struct ConvMachine {
  int64_t row_tile, panel_width;  // of the kernels
  int threads;
};

// A grid of tile_tasks x panel_tasks tasks per group.
struct DirectPlan {
  int64_t row_tiles, panels;
  int64_t tiles_per_task, panels_per_task;
  int64_t tile_tasks, panel_tasks;
  bool panels_in_l2;
};
DirectPlan plan_direct(int64_t rows, int64_t out_channels, int64_t k, int64_t groups,
                       const ConvMachine& machine);

// Winograd tiles per block: transformed input and products of one block stay in L2. With fewer blocks than
// threads want, the threads share each block's stages instead of taking a block each.
struct WinogradPlan {
  int64_t tiles_per_block, blocks;
  bool share_blocks;
};
WinogradPlan plan_winograd(int64_t tiles, int64_t in_channels, int64_t out_channels,
                           const ConvMachine& machine);

int64_t depthwise_rows_per_task(int64_t rows, int64_t row_cost);

}  // namespace pyvision

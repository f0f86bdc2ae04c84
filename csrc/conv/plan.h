// SPDX-License-Identifier: Apache-2.0
// Which algorithm a convolution uses, and how its work is cut into tasks.
#pragma once

#include <cstdint>

#include "conv/gemm.h"
#include "conv/winograd.h"
#include "ops/conv2d/conv2d.h"
#include "ops/conv2d/kernels.h"

namespace pyvision {

struct ConvMachine {
  int64_t row_tile, panel_width, lanes;  // of the kernels
  int threads;
  int64_t winograd_floats = 0;  // of a block's transformed values. Results do not depend on it.
};

// These kernels, the threads there are, and what suits this CPU's caches.
ConvMachine conv_machine(const Conv2dKernels& kernels);

// What kAuto becomes for inputs of h x w (0 where unknown). Throws std::invalid_argument when the algorithm
// asked for cannot do this convolution. in_turn: convolutions of this size that run one after another, so
// that the weights of all pass through the caches before the first's are needed again.
Conv2dAlgorithm choose_conv2d_algorithm(const Conv2dParams& params, Conv2dAlgorithm algorithm, int64_t h,
                                        int64_t w, const ConvMachine& machine, int64_t in_turn = 1);
// Its outputs are 0 for the algorithms that are not Winograd's.
WinogradTiling winograd_tiling(const Conv2dParams& params, Conv2dAlgorithm algorithm);

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

// Winograd tiles and groups per block: transformed input and products of one block stay in L2. Where there
// are fewer blocks than threads want, or a block's weights come from memory, the threads share each block's
// stages instead of taking a block each.
struct WinogradPlan {
  int64_t tiles_per_block, tile_blocks;
  int64_t groups_per_block, group_blocks;
  bool share_blocks;
};
WinogradPlan plan_winograd(const Conv2dParams& params, WinogradTiling tiling, int64_t tiles,
                           const ConvMachine& machine);
// Whether transforms of NCHW maps, the larger of which has so many floats, beat those of NHWC copies.
bool winograd_planes_pay(int64_t map_floats);

// For producers that cost more than a copy: a row's A serves as many columns as can be. Rows are split as far
// as the threads want, and columns only where there are fewer row tiles than threads.
DirectPlan plan_rows_first(int64_t rows, int64_t out_channels, int64_t k, int64_t groups,
                           const ConvMachine& machine);

// packed: (kernel_h, kernel_w, out_channels)
void pack_depthwise(const Conv2dParams& params, const ConvWeight& weight, float* packed);

// What the depthwise kernel is given; block_rows: output rows of its blocks.
DepthwiseConv make_depthwise(const Conv2dParams& params, const Nhwc<const float>& input, const float* packed,
                             const RowMap& rows, const float* bias, int64_t block_rows);

// The same over dense NCHW maps; what it needs of scratch memory, and how many planes make a task.
DepthwisePlanes make_depthwise_planes(const Conv2dParams& params, const float* input, int64_t h, int64_t w,
                                      const float* packed, const float* bias, float* output);
// Whether that beats the NHWC kernel between two transposes.
bool planes_pay(const DepthwisePlanes& job);
int64_t depthwise_planes_floats(const DepthwisePlanes& job);
int64_t planes_per_task(const DepthwisePlanes& job, int64_t planes, int threads);

GroupVectors group_vectors(const Conv2dParams& params, int64_t lanes);
// packed: (vectors, kernel_h, group_in, kernel_w, lanes), zeros where a vector has less channels than lanes
void pack_grouped(const Conv2dParams& params, const GroupVectors& vectors, const ConvWeight& weight,
                  float* packed);
GroupedConv make_grouped(const Conv2dParams& params, const GroupVectors& vectors,
                         const Nhwc<const float>& input, const float* packed, const RowMap& rows,
                         const float* bias, int64_t block_rows);

// A grid of block_tasks x channel_tasks tasks; a grouped convolution counts its vectors as channels.
struct DepthwisePlan {
  int64_t blocks_per_task, channels_per_task, channels;
  int64_t block_tasks, channel_tasks;
};
DepthwisePlan plan_depthwise(const DepthwiseConv& job, int threads);
DepthwisePlan plan_grouped(const GroupedConv& job, int threads);

// The strips in which an inverted residual block makes its expanded map. `rows` of `columns` output pixels
// see at most `floats` values of it. A task goes down `rows_per_task` rows of one image, strip by strip;
// there are row_tasks x column_parts of them per image.
struct StripPlan {
  int64_t rows, columns, floats;
  int64_t rows_per_task, row_tasks, column_parts;
};
StripPlan plan_strips(const Conv2dParams& depthwise, const Nhwc<const float>& input,
                      const Nhwc<float>& output, int threads);

// Whether strips beat the block's parts, given the floats of its expanded map.
bool strips_pay(int64_t expanded_floats);
// Whether a depthwise convolution into A tiles beats one into a map of that many floats. The results are the
// same to the bit.
bool separable_pays(int64_t middle_floats, int64_t out_channels);

}  // namespace pyvision

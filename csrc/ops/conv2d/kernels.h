// SPDX-License-Identifier: Apache-2.0
// The kernel table behind conv2d and everything built on it.
#pragma once

#include "conv/gemm.h"
#include "conv/winograd.h"
#include "core/bf16.h"
#include "core/dispatch.h"

namespace pyvision {

struct Conv2dKernels {
  const char* isa;
  int64_t row_tile, panel_width, lanes;
  int64_t tile_stride;  // floats per row of an A tile

  // Floats of packed B for one group: whole panels, the last one narrow when one vector is enough.
  int64_t (*packed_floats)(int64_t out_channels, int64_t k);
  // weight: element (o, tap, i) at o * stride_o + tap * stride_tap + i * stride_i; packed: (panels, taps *
  // channels, width)
  void (*pack)(const float* weight, int64_t out_channels, int64_t taps, int64_t channels, int64_t stride_o,
               int64_t stride_tap, int64_t stride_i, float* packed);
  void (*direct)(const DirectConv& job, int64_t first_tile, int64_t last_tile, int64_t panel_begin,
                 int64_t panel_end, float* scratch);
  int64_t depthwise_rows;  // output rows of a block
  // Row blocks [block_begin, block_end) of all images', channels [c_begin, c_end) of the output.
  void (*depthwise)(const DepthwiseConv& job, int64_t block_begin, int64_t block_end, int64_t c_begin,
                    int64_t c_end);
  // The same over vectors [begin, end) of grouped channels.
  void (*grouped)(const GroupedConv& job, int64_t block_begin, int64_t block_end, int64_t begin, int64_t end);
  // Depthwise over NCHW: output planes [begin, end) of the n * out_channels.
  void (*depthwise_planes)(const DepthwisePlanes& job, int64_t begin, int64_t end, float* memory);
  // The three stages of Winograd run over tiles, points, tiles.
  void (*winograd_pack)(WinogradTiling tiling, const float* weight, int64_t out_channels, int64_t channels,
                        float* packed, int64_t packed_per_point);
  void (*winograd_input)(const WinogradConv& job, const WinogradBlock& block, int64_t first, int64_t last);
  void (*winograd_multiply)(const WinogradConv& job, const WinogradBlock& block, int64_t first, int64_t last);
  void (*winograd_output)(const WinogradConv& job, const WinogradBlock& block, int64_t first, int64_t last);
  // The first and the last of them over NCHW.
  void (*winograd_input_planes)(const WinogradPlanes& job, const WinogradBlock& block, int64_t first,
                                int64_t last);
  void (*winograd_output_planes)(const WinogradPlanes& job, const WinogradBlock& block, int64_t first,
                                 int64_t last);
};

PYVISION_KERNELS(Conv2dKernels, conv2d)

// Products of values rounded to bf16; maps stored as float, or as bf16 (null where products are emulated).
struct Bf16Kernels {
  const char* isa;
  TileShape tile;
  void (*pack)(const float* weight, int64_t out_channels, int64_t taps, int64_t channels, int64_t stride_o,
               int64_t stride_tap, int64_t stride_i, float* packed);
  void (*direct_f32)(const DirectConv& job, int64_t first_tile, int64_t last_tile, int64_t panel_begin,
                     int64_t panel_end, float* scratch);
  void (*direct_bf16)(const DirectConvOf<Bf16, EpilogueTo<Bf16>>& job, int64_t first_tile, int64_t last_tile,
                      int64_t panel_begin, int64_t panel_end, float* scratch);
  void (*to_f32)(const Bf16* x, float* y, int64_t n);
  void (*to_bf16)(const float* x, Bf16* y, int64_t n);
};

PYVISION_EXTENDED_KERNELS(Bf16Kernels, conv2d_bf16, bf16, kBf16)

}  // namespace pyvision

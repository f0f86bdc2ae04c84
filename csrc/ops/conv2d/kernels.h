// SPDX-License-Identifier: Apache-2.0
// The kernel table behind conv2d and everything built on it.
#pragma once

#include "conv/gemm.h"
#include "core/dispatch.h"

namespace pyvision {

struct Conv2dKernels {
  const char* isa;
  int64_t row_tile, panel_width, lanes;
  int64_t tile_floats;  // scratch for one A tile

  // Floats of packed B for one group: whole panels, the last one narrow when one vector is enough.
  int64_t (*packed_floats)(int64_t out_channels, int64_t k);
  // weight: element (o, tap, i) at o * stride_o + tap * stride_tap + i * stride_i; packed: (panels, taps *
  // channels, width)
  void (*pack)(const float* weight, int64_t out_channels, int64_t taps, int64_t channels, int64_t stride_o,
               int64_t stride_tap, int64_t stride_i, float* packed);
  void (*direct)(const DirectConv& job, int64_t first_tile, int64_t last_tile, int64_t panel_begin,
                 int64_t panel_end, float* scratch);
  void (*depthwise)(const DepthwiseConv& job, int64_t row_begin, int64_t row_end);
};

PYVISION_KERNELS(Conv2dKernels, conv2d)

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// Direct convolution: copy producer -> tile GEMM -> epilogue, over a range of row tiles and a range of
// panels.
#pragma once

#include "conv/producers-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// The output and residual rows of tile rows [row_begin, row_end).
struct TileRows {
  float* output[kRowTile];
  const float* residual[kRowTile];
  int count;

  TileRows(const RowMap& map, int64_t row_begin, int64_t row_end)
      : count(static_cast<int>(row_end - row_begin)) {
    int64_t ow = row_begin % map.out_w, oh = row_begin / map.out_w % map.out_h;
    int64_t n = row_begin / map.out_w / map.out_h;
    for (int r = 0; r < count; ++r) {
      output[r] = map.output.at(n, oh, ow);
      residual[r] = map.residual.data != nullptr ? map.residual.at(n, oh, ow) : nullptr;
      if (++ow == map.out_w) {
        ow = 0;
        if (++oh == map.out_h) oh = 0, ++n;
      }
    }
  }
};

// One K block of one tile against panels [panel_begin, panel_end).
inline void multiply_tile(const DirectConv& job, const float* tile, const TileRows& rows, int64_t k_begin,
                          int64_t k_end, int64_t panel_begin, int64_t panel_end) {
  TileOutput out;
  out.activation = job.epilogue.activation;
  out.has_residual = job.rows.residual.data != nullptr;
  out.first = k_begin == 0;
  out.last = k_end == job.k;
  for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
    const int64_t column = panel * kPanelWidth;
    const int64_t left = job.out_channels - column;
    out.columns = static_cast<int>(left < kPanelWidth ? left : kPanelWidth);
    const bool narrow = panel_is_narrow(out.columns);
    const int64_t width = narrow ? F32::kLanes : kPanelWidth;
    for (int r = 0; r < rows.count; ++r) {
      out.row[r] = rows.output[r] + column;
      out.residual[r] = out.has_residual ? rows.residual[r] + column : nullptr;
    }
    out.bias = job.epilogue.bias + column;
    pick_microkernel(rows.count, narrow)(tile, job.packed + column * job.k + k_begin * width, k_end - k_begin,
                                         out);
  }
}

// scratch: (row_tile, kTileStride) floats
inline void direct_conv(const DirectConv& job, int64_t first_tile, int64_t last_tile, int64_t panel_begin,
                        int64_t panel_end, float* scratch) {
  const int64_t block = k_block_size(job.k);
  const auto run = [&](int64_t tile, int64_t k_begin, int64_t k_stop) {
    const int64_t row_begin = tile_begin(job, tile), row_end = tile_begin(job, tile + 1);
    const CopyProducer producer(job, row_begin, row_end);
    const TileRows rows(job.rows, row_begin, row_end);
    int64_t k = k_begin;
    do {  // once even when k is 0 (a transposed convolution's phase without taps): the epilogue still runs
      const int64_t k_end = k + block < k_stop ? k + block : k_stop;
      producer.fill(k, k_end, scratch);
      multiply_tile(job, scratch, rows, k, k_end, panel_begin, panel_end);
      k += block;
    } while (k < k_stop);
  };
  if (job.panels_in_l2) {
    for (int64_t tile = first_tile; tile < last_tile; ++tile) run(tile, 0, job.k);
    return;
  }
  for (int64_t k = 0; k < job.k; k += block) {  // one K block of B stays in L2 while all tiles use it
    const int64_t k_end = k + block < job.k ? k + block : job.k;
    for (int64_t tile = first_tile; tile < last_tile; ++tile) run(tile, k, k_end);
  }
}

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
// Direct convolution: copy producer -> tile GEMM -> epilogue, over a range of row tiles and a range of
// panels.
#pragma once

#include "conv/producers-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// A tile of output pixels: what the producer needs of them, and where their sums go.
struct ConvTile {
  CopyProducer producer;
  float* output[kRowTile];
  const float* residual[kRowTile];
  int count = 0;

  explicit ConvTile(const DirectConv& job) : producer(job) {}

  // The next `rows` pixels from the cursor on, one stretch of an output row at a time.
  void take(const DirectConv& job, int rows, PixelCursor* cursor) {
    const RowMap& map = job.rows;
    count = rows;
    for (int r = 0; r < rows;) {
      const int64_t left = map.out_w - cursor->ow;
      const int stretch = static_cast<int>(left < rows - r ? left : rows - r);
      producer.set_rows(r, stretch, *cursor);
      float* to = map.output.at(cursor->n, cursor->oh, cursor->ow);
      for (int i = 0; i < stretch; ++i) output[r + i] = to + i * map.output.stride_w;
      if (map.residual.data != nullptr) {
        const float* from = map.residual.at(cursor->n, cursor->oh, cursor->ow);
        for (int i = 0; i < stretch; ++i) residual[r + i] = from + i * map.residual.stride_w;
      }
      r += stretch;
      cursor->advance(map, stretch);
    }
  }

  // The same for pixels [row, row + rows) of maps whose pixels all lie at one distance; only the first window
  // is set.
  void take_uniform(const DirectConv& job, int rows, int64_t row) {
    const RowMap& map = job.rows;
    count = rows;
    for (int r = 0; r < rows; ++r) output[r] = map.output.data + (row + r) * map.output.stride_w;
    if (map.residual.data == nullptr) return;
    for (int r = 0; r < rows; ++r) residual[r] = map.residual.data + (row + r) * map.residual.stride_w;
  }
};

// K values [k_begin, k_end) of one tile against panels [panel_begin, panel_end).
inline void multiply_tile(const DirectConv& job, const TileInput& a, const ConvTile& tile, int64_t k_begin,
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
    for (int r = 0; r < tile.count; ++r) out.row[r] = tile.output[r] + column;
    if (out.has_residual)
      for (int r = 0; r < tile.count; ++r) out.residual[r] = tile.residual[r] + column;
    out.bias = job.epilogue.bias + column;
    pick_microkernel(tile.count, narrow)(a, job.packed + column * job.k + k_begin * width, out);
  }
}

// scratch: (row_tile, kTileStride) floats
inline void direct_conv(const DirectConv& job, int64_t first_tile, int64_t last_tile, int64_t panel_begin,
                        int64_t panel_end, float* scratch) {
  const int64_t block = k_block_size(job.k);
  const bool uniform = CopyProducer::is_uniform(job);
  ConvTile tile(job);
  // Tiles outermost, each through K values [k_begin, k_stop).
  const auto run = [&](int64_t k_begin, int64_t k_stop) {
    const bool whole = k_begin == 0 && k_stop == job.k;
    int64_t row = tile_begin(job, first_tile);
    PixelCursor cursor(job.rows, row);
    for (int64_t t = first_tile; t < last_tile; ++t) {
      const int64_t row_end = tile_begin(job, t + 1);
      const int rows = static_cast<int>(row_end - row);
      if (uniform) {
        tile.take_uniform(job, rows, row);
        multiply_tile(job, tile.producer.uniform_rows(row), tile, 0, job.k, panel_begin, panel_end);
        row = row_end;
        continue;
      }
      tile.take(job, rows, &cursor);
      row = row_end;
      if (whole && tile.producer.windows_in_place(rows)) {
        multiply_tile(job, tile.producer.window_rows(), tile, 0, job.k, panel_begin, panel_end);
        continue;
      }
      int64_t k = k_begin;
      do {  // once even when k is 0 (a transposed convolution's phase without taps): the epilogue still runs
        const int64_t k_end = k + block < k_stop ? k + block : k_stop;
        tile.producer.fill(k, k_end, rows, scratch);
        multiply_tile(job, {scratch, kTileStride, 1, 0, k_end - k}, tile, k, k_end, panel_begin, panel_end);
        k += block;
      } while (k < k_stop);
    }
  };
  if (job.panels_in_l2) return run(0, job.k);
  for (int64_t k = 0; k < job.k; k += block)  // one K block of B stays in L2 while all tiles use it
    run(k, k + block < job.k ? k + block : job.k);
}

}  // namespace pyvision::PYVISION_ISA_NS

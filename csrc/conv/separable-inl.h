// SPDX-License-Identifier: Apache-2.0
// The producer of a depthwise-separable convolution: the depthwise result goes straight into the A tile,
// whose rows are a block of the depthwise kernel, two rows of seven pixels for instance.
#pragma once

#include "conv/depthwise-inl.h"
#include "conv/direct-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Pixels of a tile's rows.
constexpr int kSeparablePixels =
    kRowTile / kDepthwiseRows < kDepthwisePixels ? kRowTile / kDepthwiseRows : kDepthwisePixels;

// Walks tiles, not pixels.
struct TileCursor {
  int64_t tile;

  TileCursor(const RowMap&, int64_t row) : tile(row / kRowTile) {}
};

class DepthwiseProducer {
 public:
  using Job = SeparableConv;
  using Product = F32Product;
  using Cursor = TileCursor;
  static constexpr bool kMayReadInPlace = false;

  explicit DepthwiseProducer(const Job& job)
      : job_(job.depthwise), kernel_(pick_depthwise_kernel(job.depthwise)) {
    block_.output_step = kTileStride;
    block_.residual[0] = nullptr;
  }

  // A depthwise bias makes something of nothing: only a tile without rows needs no filling.
  bool sees_nothing(int64_t, int64_t, int) const { return block_.rows * block_.pixels == 0; }

  void set_block(int64_t n, int64_t oh, int64_t ow, int rows, int pixels) {
    set_window(job_, n, oh, ow, rows, pixels, &block_);
  }

  // tile: (rows * pixels, kTileStride), channels [k_begin, k_end)
  void fill(int64_t k_begin, int64_t k_end, int, float* tile) {
    for (int r = 0; r < block_.rows; ++r) block_.output[r] = tile + r * block_.pixels * kTileStride - k_begin;
    const int64_t chunk = depthwise_chunk(job_);
    for (int64_t c = k_begin; c < k_end; c += chunk)
      kernel_(job_, block_, c, c + chunk < k_end ? c + chunk : k_end);
  }

 private:
  const DepthwiseConv& job_;
  DepthwiseKernel kernel_;
  DepthwiseBlock block_;
};

// Part `part` of `parts` of the outputs first, first + step … of `extent`, dealt as evenly as can be. Some
// phases of a lattice have an output less than others, so that a part of theirs may be empty.
struct LatticePart {
  int64_t begin;  // the first of them
  int count;

  LatticePart(int64_t part, int64_t parts, int64_t first, int64_t step, int64_t extent) {
    const int64_t outputs = (extent - first + step - 1) / step;
    const int64_t i = part * outputs / parts;
    begin = first + i * step;
    count = static_cast<int>((part + 1) * outputs / parts - i);
  }
};

inline void take_tile(const SeparableConv& job, int, TileCursor* cursor, DepthwiseProducer* producer,
                      TileTarget* target) {
  const DepthwiseConv& depthwise = job.depthwise;
  const RowMap& map = job.rows;
  int64_t t = cursor->tile++;
  const auto digit = [&](int64_t base) {
    const int64_t d = t % base;
    t /= base;
    return d;
  };
  const int64_t column_phase = digit(job.column_phases), column_part = digit(job.column_parts);
  const int64_t row_phase = digit(job.row_phases), row_part = digit(job.row_parts);  // t is n from here on
  const LatticePart rows(row_part, job.row_parts, row_phase, depthwise.step_h, map.out_h);
  const LatticePart columns(column_part, job.column_parts, column_phase, depthwise.step_w, map.out_w);
  producer->set_block(t, rows.begin, columns.begin, rows.count, columns.count);
  target->count = 0;
  for (int r = 0; r < rows.count; ++r)
    target->add_rows(map, columns.count, t, rows.begin + r * depthwise.step_h, columns.begin,
                     depthwise.step_w);
}

}  // namespace pyvision::PYVISION_ISA_NS

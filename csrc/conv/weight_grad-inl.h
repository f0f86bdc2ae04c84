// SPDX-License-Identifier: Apache-2.0
// The gradient of a convolution's weight: copy producer -> tile GEMM over pixels. The windows that the
// convolution multiplies as rows of A are rows of B here, and the output's gradient is a transposed A, read
// where it lies.
#pragma once

#include "conv/producers-inl.h"

namespace pyvision::PYVISION_ISA_NS {

template <int NV, int... Rows>
inline MicrokernelOf<Epilogue> pick_outer_microkernel(int rows, std::integer_sequence<int, Rows...>) {
  static constexpr MicrokernelOf<Epilogue> kTable[] = {
      microkernel<Rows + 1, NV, F32Product, Epilogue, ColumnAddress, kTileStride>...};
  return kTable[rows - 1];
}
inline MicrokernelOf<Epilogue> pick_outer_microkernel(int rows, bool narrow) {
  constexpr auto kRows = std::make_integer_sequence<int, kRowTile>{};
  return narrow ? pick_outer_microkernel<1>(rows, kRows) : pick_outer_microkernel<kPanelVectors>(rows, kRows);
}

// Adds `pixels` pixels from `first_row` on, whose windows' values [k_begin, k_end) are in `windows`; the
// first ones are stored instead. windows: (pixels, kTileStride)
inline void add_pixels(const WeightGrad& job, const float* windows, int64_t first_row, int64_t pixels,
                       int64_t k_begin, int64_t k_end, int64_t o_begin, int64_t o_end) {
  alignas(64) static constexpr float kZeros[kPanelWidth] = {};
  const int64_t outputs = o_end - o_begin, tiles = (outputs + kRowTile - 1) / kRowTile;
  const float* grad = job.grad_output + first_row * job.grad_stride;
  TileOutput out;
  out.bias = kZeros;
  out.has_residual = out.last = false;
  out.first = first_row == 0;
  for (int64_t k = k_begin; k < k_end; k += kPanelWidth) {
    out.columns = static_cast<int>(k_end - k < kPanelWidth ? k_end - k : kPanelWidth);
    for (int64_t t = 0; t < tiles; ++t) {  // outputs are dealt evenly: 64 are 13 + 13 + 13 + 13 + 12
      const int64_t o = o_begin + t * outputs / tiles;
      const int count = static_cast<int>(o_begin + (t + 1) * outputs / tiles - o);
      for (int r = 0; r < count; ++r) out.row[r] = job.grad_weight + (o + r) * job.conv.k + k;
      const PanelAhead ahead{grad + o + count, job.grad_stride};  // what the next outputs read
      pick_outer_microkernel(count, panel_is_narrow(out.columns))({grad + o, job.grad_stride, 1, 0, pixels},
                                                                  windows + (k - k_begin), ahead, out);
    }
  }
}

// Adds the job's blocks to elements [o_begin, o_end) x [k_begin, k_end) of the gradient, at most kKBlock
// columns from a panel's first on. scratch: (kPixelBlock, kTileStride)
inline void weight_grad(const WeightGrad& job, int64_t k_begin, int64_t k_end, int64_t o_begin, int64_t o_end,
                        float* scratch) {
  const DirectConv& conv = job.conv;
  CopyProducer producer(conv);
  const auto first_of = [&](int64_t block) { return block * conv.row_tiles / job.blocks * kRowTile; };
  PixelCursor cursor(conv.rows, first_of(job.first_block));
  for (int64_t block = job.first_block; block < job.last_block; ++block) {
    const int64_t first = first_of(block), last = first_of(block + 1);
    const int64_t pixels = (last < conv.row_count ? last : conv.row_count) - first;
    for (int64_t p = 0; p < pixels; p += kRowTile) {
      const int count = static_cast<int>(pixels - p < kRowTile ? pixels - p : kRowTile);
      for_each_stretch(conv.rows, count, &cursor, [&](int r, int stretch, const PixelCursor& pixel) {
        producer.set_rows(r, stretch, pixel);
      });
      producer.fill(k_begin, k_end, count, scratch + p * kTileStride);
    }
    add_pixels(job, scratch, first, pixels, k_begin, k_end, o_begin, o_end);
  }
}

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
// The producer of a depthwise-separable convolution: the depthwise result goes straight into the A tile.
#pragma once

#include "conv/depthwise-inl.h"
#include "conv/producers-inl.h"

namespace pyvision::PYVISION_ISA_NS {

class DepthwiseProducer {
 public:
  using Job = SeparableConv;
  static constexpr bool kMayReadInPlace = false;

  explicit DepthwiseProducer(const Job& job)
      : job_(job.depthwise), kernel_(pick_depthwise_kernel(job.depthwise)) {}

  // Tile rows [r, r + count) are this output pixel and its right neighbours.
  void set_rows(int r, int count, const PixelCursor& pixel) {
    if (r == 0) stretch_count_ = 0;
    stretches_[stretch_count_++] = {r, count, pixel.n, pixel.oh, pixel.ow};
  }

  // A depthwise bias makes something of nothing.
  static bool sees_nothing(int64_t, int64_t, int) { return false; }

  // tile: (count, kTileStride), channels [k_begin, k_end) of the rows
  void fill(int64_t k_begin, int64_t k_end, int, float* tile) const {
    DepthwiseBlock block;
    block.output_step = job_.step_w * kTileStride;
    block.residual[0] = nullptr;
    const int64_t chunk = depthwise_chunk(job_);
    for (int64_t c = k_begin; c < k_end; c += chunk) {
      const int64_t c_end = c + chunk < k_end ? c + chunk : k_end;
      for (int s = 0; s < stretch_count_; ++s) {
        const Stretch& stretch = stretches_[s];
        for (int64_t first = 0; first < stretch.count; first += kDepthwisePixels * job_.step_w) {
          for (int64_t i = first; i < first + job_.step_w && i < stretch.count; ++i) {
            const int pixels = count_outputs(i, job_.step_w, stretch.count, kDepthwisePixels);
            set_window(job_, stretch.n, stretch.oh, stretch.ow + i, 1, pixels, &block);
            block.output[0] = tile + (stretch.row + i) * kTileStride - k_begin;
            kernel_(job_, block, c, c_end);
          }
        }
      }
    }
  }

 private:
  struct Stretch {  // of neighbouring pixels of one output row
    int row, count;
    int64_t n, oh, ow;  // the first
  };

  const DepthwiseConv& job_;
  DepthwiseKernel kernel_;
  int stretch_count_ = 0;
  Stretch stretches_[kRowTile];
};

}  // namespace pyvision::PYVISION_ISA_NS

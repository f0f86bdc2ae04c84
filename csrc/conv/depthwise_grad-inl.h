// SPDX-License-Identifier: Apache-2.0
// The gradient of a depthwise convolution's weight over NHWC: lanes are channels, each tap a sum over pixels.
#pragma once

#include "conv/gemm.h"
#include "simd/channels-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Pixels whose gradients stay in L1 while every tap of a kernel row uses them: 32 x 4 vectors are 8 KB.
constexpr int64_t kGradPixels = 32;

// Adds what output pixels [ow_begin, ow_end) of one row contribute to one kernel row's taps.
// image_row: (w, channels), grad: (out_w, channels), sums: (kernel_w, channels), all at the block's channels.
template <class Block>
inline void add_kernel_row(const DepthwiseConv& job, const Block& block, const float* image_row,
                           const float* grad, int64_t grad_step, int64_t ow_begin, int64_t ow_end,
                           float* sums) {
  const int64_t step = job.stride_w * job.input.stride_w;
  for (int64_t kw = 0; kw < job.kernel_w; ++kw, sums += job.input.c) {
    const int64_t first = kw * job.dilation_w - job.pad_left;  // input column of output column 0
    // The outputs whose tap is inside: 0 <= first + ow * stride_w < w.
    int64_t begin = first >= 0 ? 0 : (-first + job.stride_w - 1) / job.stride_w;
    int64_t end = job.input.w <= first ? 0 : (job.input.w - first - 1) / job.stride_w + 1;
    begin = begin < ow_begin ? ow_begin : begin;
    end = end > ow_end ? ow_end : end;
    if (begin >= end) continue;
    F32 acc[kBlockVecs];
    for (int v = 0; v < block.kVecs; ++v) acc[v] = block.load(sums, v);
    const float* x = image_row + (first + begin * job.stride_w) * job.input.stride_w;
    const float* g = grad + begin * grad_step;
    for (int64_t ow = begin; ow < end; ++ow, x += step, g += grad_step)
      for (int v = 0; v < block.kVecs; ++v) acc[v] = fma(block.load(g, v), block.load(x, v), acc[v]);
    for (int v = 0; v < block.kVecs; ++v) block.store(acc[v], sums, v);
  }
}

// Output rows [row_begin, row_end) of the n * out_h rows. grad_weight: (kernel_h, kernel_w, channels)
inline void depthwise_weight_grad(const DepthwiseConv& job, const Nhwc<const float>& grad_output,
                                  int64_t row_begin, int64_t row_end, float* grad_weight) {
  const int64_t channels = job.input.c, taps_row = job.kernel_w * channels;
  for (int64_t i = 0; i < job.kernel_h * taps_row; ++i) grad_weight[i] = 0.0f;
  with_channel_blocks(channels, [&](auto each) {
    for (int64_t r = row_begin; r < row_end; ++r) {
      const int64_t n = r / grad_output.h, oh = r % grad_output.h;
      const float* grad = grad_output.at(n, oh, 0);
      for (int64_t ow = 0; ow < grad_output.w; ow += kGradPixels) {
        const int64_t ow_end = ow + kGradPixels < grad_output.w ? ow + kGradPixels : grad_output.w;
        each([&](auto block, int64_t c) {
          for (int64_t kh = 0; kh < job.kernel_h; ++kh) {
            const int64_t ih = oh * job.stride_h - job.pad_top + kh * job.dilation_h;
            if (ih < 0 || ih >= job.input.h) continue;
            add_kernel_row(job, block, job.input.at(n, ih, 0) + c, grad + c, grad_output.stride_w, ow, ow_end,
                           grad_weight + kh * taps_row + c);
          }
        });
      }
    }
  });
}

}  // namespace pyvision::PYVISION_ISA_NS

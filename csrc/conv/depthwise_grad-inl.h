// SPDX-License-Identifier: Apache-2.0
// The gradient of the weight of a convolution with few channels a group over NHWC: lanes are output channels,
// each tap a sum over pixels.
#pragma once

#include "conv/grouped-inl.h"
#include "simd/channels-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Pixels whose gradients stay in L1 while every tap uses them: 32 x 4 vectors are 8 KB.
constexpr int64_t kGradPixels = 32;

// Pixels [begin, end) of one row whose tap is inside the image.
struct TapPixels {
  int64_t begin, end;
  const float *x, *grad;  // at pixel `begin`
};

// Calls f(n, oh, ow_begin, ow_end) for the stretches that output rows [row_begin, row_end) consist of.
template <class F>
inline void for_each_grad_stretch(const Nhwc<const float>& grad_output, int64_t row_begin, int64_t row_end,
                                  F f) {
  for (int64_t r = row_begin; r < row_end; ++r)
    for (int64_t ow = 0; ow < grad_output.w; ow += kGradPixels)
      f(r / grad_output.h, r % grad_output.h, ow,
        ow + kGradPixels < grad_output.w ? ow + kGradPixels : grad_output.w);
}

// Calls f(tap, pixels) for the taps that pixels [ow_begin, ow_end) of output row (n, oh) have inside the
// image, the input at channel c_in and the gradient at c.
template <class F>
inline void for_each_tap(const DepthwiseConv& job, const Nhwc<const float>& grad_output, int64_t n,
                         int64_t oh, int64_t ow_begin, int64_t ow_end, int64_t c_in, int64_t c, F f) {
  const Nhwc<const float>& in = job.input;
  for (int64_t kh = 0; kh < job.kernel_h; ++kh) {
    const int64_t ih = oh * job.stride_h - job.pad_top + kh * job.dilation_h;
    if (ih < 0 || ih >= in.h) continue;
    for (int64_t kw = 0; kw < job.kernel_w; ++kw) {
      const int64_t first = kw * job.dilation_w - job.pad_left;  // input column of output column 0
      int64_t begin = first >= 0 ? 0 : (-first + job.stride_w - 1) / job.stride_w;
      int64_t end = in.w <= first ? 0 : (in.w - first - 1) / job.stride_w + 1;
      begin = begin < ow_begin ? ow_begin : begin;
      end = end > ow_end ? ow_end : end;
      if (begin < end)
        f(kh * job.kernel_w + kw, TapPixels{begin, end, in.at(n, ih, first + begin * job.stride_w) + c_in,
                                            grad_output.at(n, oh, begin) + c});
    }
  }
}

// Adds output rows [row_begin, row_end) of the n * out_h of a depthwise convolution. sums: (taps, channels)
inline void depthwise_weight_grad(const DepthwiseConv& job, const Nhwc<const float>& grad_output,
                                  int64_t row_begin, int64_t row_end, float* sums) {
  const int64_t channels = job.input.c, step = job.stride_w * job.input.stride_w;
  with_channel_blocks(channels, [&](auto each) {
    for_each_grad_stretch(
        grad_output, row_begin, row_end, [&](int64_t n, int64_t oh, int64_t ow, int64_t end) {
          each([&](auto block, int64_t c) {
            for_each_tap(job, grad_output, n, oh, ow, end, c, c, [&](int64_t tap, TapPixels p) {
              float* to = sums + tap * channels + c;
              F32 acc[kBlockVecs];
              for (int v = 0; v < block.kVecs; ++v) acc[v] = block.load(to, v);
              for (int64_t i = p.begin; i < p.end; ++i, p.x += step, p.grad += grad_output.stride_w)
                for (int v = 0; v < block.kVecs; ++v)
                  acc[v] = fma(block.load(p.grad, v), block.load(p.x, v), acc[v]);
              for (int v = 0; v < block.kVecs; ++v) block.store(acc[v], to, v);
            });
          });
        });
  });
}

// Adds to the sums of kInputs input channels of each lane's group. source: the lanes of the first of them
template <int kInputs>
inline void add_group_inputs(const DepthwiseConv& job, int64_t grad_step, TapPixels p, int out_lanes,
                             int in_lanes, I32 source, float* sums) {
  const int64_t step = job.stride_w * job.input.stride_w;
  I32 lane[kInputs];
  F32 acc[kInputs];
  for (int i = 0; i < kInputs; ++i) {
    lane[i] = source + I32::set(i);
    acc[i] = F32::load(sums + i * F32::kLanes);
  }
  for (int64_t ow = p.begin; ow < p.end; ++ow, p.x += step, p.grad += grad_step) {
    const F32 g = F32::load_n(p.grad, out_lanes), x = F32::load_n(p.x, in_lanes);
    for (int i = 0; i < kInputs; ++i) acc[i] = fma(g, permute(x, lane[i]), acc[i]);
  }
  for (int i = 0; i < kInputs; ++i) acc[i].store(sums + i * F32::kLanes);
}

// The same where a vector holds several groups. sums: (vectors, taps, group_in, lanes)
inline void grouped_weight_grad(const GroupedConv& job, const Nhwc<const float>& grad_output,
                                int64_t row_begin, int64_t row_end, float* sums) {
  const GroupVectors& vectors = job.vectors;
  const int64_t per_tap = vectors.group_in * F32::kLanes, per_vector = job.kernel_h * job.kernel_w * per_tap;
  const I32 first_lane = first_input_lanes(vectors);
  for_each_grad_stretch(grad_output, row_begin, row_end, [&](int64_t n, int64_t oh, int64_t ow, int64_t end) {
    for (int64_t v = 0; v < vectors.count; ++v) {
      const auto out_lanes = static_cast<int>(vectors.out_lanes(v));
      const auto in_lanes = static_cast<int>(out_lanes / vectors.group_out * vectors.group_in);
      for_each_tap(job, grad_output, n, oh, ow, end, vectors.first_in(v), vectors.first_out(v),
                   [&](int64_t tap, const TapPixels& p) {
                     float* to = sums + v * per_vector + tap * per_tap;
                     int64_t i = 0;
                     for (; i + 4 <= vectors.group_in; i += 4, to += 4 * F32::kLanes)
                       add_group_inputs<4>(job, grad_output.stride_w, p, out_lanes, in_lanes,
                                           first_lane + I32::set(static_cast<int>(i)), to);
                     for (; i < vectors.group_in; ++i, to += F32::kLanes)
                       add_group_inputs<1>(job, grad_output.stride_w, p, out_lanes, in_lanes,
                                           first_lane + I32::set(static_cast<int>(i)), to);
                   });
    }
  });
}

}  // namespace pyvision::PYVISION_ISA_NS

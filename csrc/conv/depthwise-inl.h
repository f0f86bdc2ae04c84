// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution over NHWC: lanes are channels, no GEMM. A block of neighbouring output pixels of one
// row is computed together, so that an input vector is loaded once per kernel row and used by every tap that
// sees it.
#pragma once

#include "conv/gemm.h"
#include "simd/activation-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Output pixels per block: 8 accumulators hide the FMA latency and leave registers for inputs and weights.
constexpr int kDepthwiseBlock = 8;

struct DepthwiseRow {
  const float* image;        // (h, w, c) of this n
  float* output;             // (out_w, c)
  const float* residual;     // (out_w, c) or null
  int64_t ih;                // input row of tap row 0; may be outside
  int64_t kh_begin, kh_end;  // tap rows inside the image
};

template <class F>
inline void finish_pixel(const DepthwiseConv& job, const DepthwiseRow& row, int64_t ow, int64_t c, int lanes,
                         F32 sum, F f) {
  if (row.residual != nullptr)
    sum = sum + load_lanes(row.residual + ow * job.rows.residual.stride_w + c, lanes);
  store_lanes(f(sum), row.output + ow * job.rows.output.stride_w + c, lanes);
}

// Any tap may fall outside: border pixels, and kernels without a specialised interior.
template <class F>
inline void depthwise_border(const DepthwiseConv& job, const DepthwiseRow& row, int64_t ow_begin,
                             int64_t ow_end, F f) {
  const int64_t channels = job.input.c;
  for (int64_t ow = ow_begin; ow < ow_end; ++ow) {
    const int64_t iw = ow * job.stride_w - job.pad_left;
    for (int64_t c = 0; c < channels; c += F32::kLanes) {
      const int lanes = static_cast<int>(channels - c < F32::kLanes ? channels - c : F32::kLanes);
      F32 sum = load_lanes(job.epilogue.bias + c, lanes);
      for (int64_t kh = row.kh_begin; kh < row.kh_end; ++kh) {
        const float* from = row.image + (row.ih + kh * job.dilation_h) * job.input.stride_h + c;
        for (int64_t kw = 0; kw < job.kernel_w; ++kw) {
          const int64_t x = iw + kw * job.dilation_w;
          if (x < 0 || x >= job.input.w) continue;
          const F32 weight = load_lanes(job.packed + (kh * job.kernel_w + kw) * channels + c, lanes);
          sum = fma(weight, load_lanes(from + x * job.input.stride_w, lanes), sum);
        }
      }
      finish_pixel(job, row, ow, c, lanes, sum, f);
    }
  }
}

// kDepthwiseBlock pixels from ow on, one vector of channels, all tap columns inside the image, no dilation
// along w.
//
//   stride 1, K = 3:  input  x0 x1 x2 x3 …      each x feeds up to K of the block's outputs
//                     output  y0 = k0 x0 + k1 x1 + k2 x2,  y1 = k0 x1 + k1 x2 + k2 x3 …
template <int K, int S, class F>
inline void depthwise_block(const DepthwiseConv& job, const DepthwiseRow& row, int64_t ow, int64_t c,
                            int lanes, F f) {
  F32 acc[kDepthwiseBlock];
  const F32 bias = load_lanes(job.epilogue.bias + c, lanes);
#pragma GCC unroll 8
  for (int p = 0; p < kDepthwiseBlock; ++p) acc[p] = bias;
  const int64_t pixel = job.input.stride_w, channels = job.input.c;
  for (int64_t kh = row.kh_begin; kh < row.kh_end; ++kh) {
    const float* from =
        row.image + (row.ih + kh * job.dilation_h) * job.input.stride_h + (ow * S - job.pad_left) * pixel + c;
    const float* weights = job.packed + kh * K * channels + c;
    F32 w[K];
#pragma GCC unroll 8
    for (int kw = 0; kw < K; ++kw) w[kw] = load_lanes(weights + kw * channels, lanes);
    constexpr int kInputs = (kDepthwiseBlock - 1) * S + K;
#pragma GCC unroll 24
    for (int i = 0; i < kInputs; ++i) {
      const F32 x = load_lanes(from + i * pixel, lanes);
#pragma GCC unroll 8
      for (int kw = 0; kw < K; ++kw) {
        const int from_output = i - kw;  // = p * S for the output p that sees x through tap kw
        if (from_output >= 0 && from_output % S == 0 && from_output / S < kDepthwiseBlock)
          acc[from_output / S] = fma(w[kw], x, acc[from_output / S]);
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kDepthwiseBlock; ++p) finish_pixel(job, row, ow + p, c, lanes, acc[p], f);
}

template <int K, int S, class F>
inline void depthwise_interior(const DepthwiseConv& job, const DepthwiseRow& row, int64_t ow_begin,
                               int64_t ow_end, F f) {
  const int64_t channels = job.input.c, whole = channels / F32::kLanes * F32::kLanes;
  int64_t ow = ow_begin;
  for (; ow + kDepthwiseBlock <= ow_end; ow += kDepthwiseBlock) {
    for (int64_t c = 0; c < whole; c += F32::kLanes) depthwise_block<K, S>(job, row, ow, c, F32::kLanes, f);
    if (whole < channels) depthwise_block<K, S>(job, row, ow, whole, static_cast<int>(channels - whole), f);
  }
  depthwise_border(job, row, ow, ow_end, f);
}

template <class F>
inline void depthwise_row(const DepthwiseConv& job, const DepthwiseRow& row, F f) {
  // Interior: the first tap column at or right of 0, the last one inside.
  const int64_t span = job.dilation_w * (job.kernel_w - 1);
  const int64_t out_w = job.rows.out_w;
  int64_t begin = (job.pad_left + job.stride_w - 1) / job.stride_w;
  int64_t end = (job.input.w - 1 - span + job.pad_left) >= 0
                    ? (job.input.w - 1 - span + job.pad_left) / job.stride_w + 1
                    : 0;
  begin = begin < 0 ? 0 : (begin < out_w ? begin : out_w);  // padding is negative in a transposed phase
  end = end < begin ? begin : (end < out_w ? end : out_w);
  depthwise_border(job, row, 0, begin, f);
  const auto is = [&](int64_t k, int64_t s) {
    return job.kernel_w == k && job.stride_w == s && job.dilation_w == 1;
  };
  if (is(3, 1))
    depthwise_interior<3, 1>(job, row, begin, end, f);
  else if (is(3, 2))
    depthwise_interior<3, 2>(job, row, begin, end, f);
  else if (is(5, 1))
    depthwise_interior<5, 1>(job, row, begin, end, f);
  else if (is(5, 2))
    depthwise_interior<5, 2>(job, row, begin, end, f);
  else
    depthwise_border(job, row, begin, end, f);
  depthwise_border(job, row, end, out_w, f);
}

// Output rows [row_begin, row_end) of the n * out_h rows.
inline void depthwise_conv(const DepthwiseConv& job, int64_t row_begin, int64_t row_end) {
  with_cheap_activation(job.epilogue.activation, [&](auto f) {
    for (int64_t r = row_begin; r < row_end; ++r) {
      const int64_t n = r / job.rows.out_h, oh = r % job.rows.out_h;
      DepthwiseRow row;
      row.image = job.input.data + n * job.input.stride_n;
      row.output = job.rows.output.at(n, oh, 0);
      row.residual = job.rows.residual.data != nullptr ? job.rows.residual.at(n, oh, 0) : nullptr;
      row.ih = oh * job.stride_h - job.pad_top;
      row.kh_begin = row.ih >= 0 ? 0 : (-row.ih + job.dilation_h - 1) / job.dilation_h;
      const int64_t below = job.input.h - row.ih;  // tap rows kh with kh * dilation_h < below are inside
      row.kh_end = below <= 0 ? 0 : (below + job.dilation_h - 1) / job.dilation_h;
      if (row.kh_end > job.kernel_h) row.kh_end = job.kernel_h;
      depthwise_row(job, row, f);
      finish_exponential(job.epilogue.activation, row.output, job.rows.output.stride_w, job.rows.out_w,
                         job.input.c);
    }
  });
}

}  // namespace pyvision::PYVISION_ISA_NS

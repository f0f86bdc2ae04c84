// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution over NCHW: lanes are neighbours of one row, weights are broadcast. Strips of input
// rows are copied into L1 first, zero-padded, every stride-th column in a row of its own: then any stride and
// dilation is a sum over taps of whole vectors, and borders are no case of their own.
//
//   stride 2:  x0 x1 x2 x3 …  ->  x0 x2 x4 …   tap column kw reads row kw d mod 2
//                                 x1 x3 x5 …   from position kw d / 2 on
#pragma once

#include "conv/gemm.h"
#include "simd/activation-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Accumulators of a row: enough to hide the latency of an FMA.
constexpr int kPlaneVectors = 4;

struct PlaneTap {
  int64_t offset;  // from the strip's first tap to this one
  float weight;
};
static_assert(sizeof(PlaneTap) <= 4 * sizeof(float), "depthwise_planes_floats() leaves four floats for each");

// Every kStride-th value of the n that exist (0: `stride`, known at run time only).
template <int kStride>
inline void gather_columns(const float* from, int64_t stride, float* __restrict to, int64_t n) {
  const int64_t step = kStride == 0 ? stride : kStride;
  for (int64_t i = 0; i < n; ++i) to[i] = from[i * step];
}

// Columns phase, phase + stride … of an image row with pad_left zeros before it, as `pitch` floats.
inline void copy_phase(const DepthwisePlanes& job, const float* row, int64_t phase, float* to) {
  const int64_t before = job.pad_left - phase;  // columns of this phase that lie before the image
  int64_t begin = before > 0 ? (before + job.stride_w - 1) / job.stride_w : 0;
  begin = begin < job.pitch ? begin : job.pitch;
  const int64_t first = begin * job.stride_w - before;  // image column
  int64_t n = first < job.w ? (job.w - first + job.stride_w - 1) / job.stride_w : 0;
  n = n < job.pitch - begin ? n : job.pitch - begin;
  for (int64_t i = 0; i < begin; ++i) to[i] = 0.0f;
  if (job.stride_w == 1)
    gather_columns<1>(row + first, 1, to + begin, n);
  else if (job.stride_w == 2)
    gather_columns<2>(row + first, 2, to + begin, n);
  else
    gather_columns<0>(row + first, job.stride_w, to + begin, n);
  for (int64_t i = begin + n; i < job.pitch; ++i) to[i] = 0.0f;
}

// kVectors vectors of one output row, the last of `lanes` lanes. strip: the first tap of the first of them
template <int kVectors, class F>
inline void plane_vectors(const PlaneTap* taps, int64_t tap_count, const float* strip, float bias, float* out,
                          int lanes, F f) {
  F32 sums[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) sums[v] = F32::set(bias);
  for (int64_t t = 0; t < tap_count; ++t) {
    const F32 w = F32::set(taps[t].weight);
    const float* from = strip + taps[t].offset;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[v] = fma(w, F32::load(from + v * F32::kLanes), sums[v]);
  }
#pragma GCC unroll 4
  for (int v = 0; v + 1 < kVectors; ++v) f(sums[v]).store(out + v * F32::kLanes);
  store_lanes(f(sums[kVectors - 1]), out + (kVectors - 1) * F32::kLanes, lanes);
}

template <class F>
inline void plane_row(const DepthwisePlanes& job, const PlaneTap* taps, const float* strip, float bias,
                      float* out, F f) {
  constexpr int64_t kBlock = kPlaneVectors * F32::kLanes;
  const int64_t count = job.kernel_h * job.kernel_w;
  int64_t ow = 0;
  for (; ow + kBlock <= job.out_w; ow += kBlock)
    plane_vectors<kPlaneVectors>(taps, count, strip + ow, bias, out + ow, F32::kLanes, f);
  if (ow == job.out_w) return;
  const int64_t vectors = (job.out_w - ow + F32::kLanes - 1) / F32::kLanes;  // [1, kPlaneVectors]
  const int lanes = static_cast<int>(job.out_w - ow - (vectors - 1) * F32::kLanes);
  const auto rest = vectors == 1   ? plane_vectors<1, F>
                    : vectors == 2 ? plane_vectors<2, F>
                    : vectors == 3 ? plane_vectors<3, F>
                                   : plane_vectors<4, F>;
  rest(taps, count, strip + ow, bias, out + ow, lanes, f);
}

// Output planes [begin, end) of the n * out_channels. memory: depthwise_planes_floats(job) floats
inline void depthwise_planes(const DepthwisePlanes& job, int64_t begin, int64_t end, float* memory) {
  auto* const taps = reinterpret_cast<PlaneTap*>(memory + job.strip_rows * job.stride_w * job.pitch);
  const int64_t row_floats = job.stride_w * job.pitch;
  int64_t t = 0;
  for (int64_t kh = 0; kh < job.kernel_h; ++kh)
    for (int64_t kw = 0; kw < job.kernel_w; ++kw, ++t) {
      const int64_t column = kw * job.dilation_w;
      taps[t].offset =
          kh * job.dilation_h * row_floats + column % job.stride_w * job.pitch + column / job.stride_w;
    }
  const int64_t span = job.dilation_h * (job.kernel_h - 1) + 1;
  const int64_t strip_outputs = (job.strip_rows - span) / job.stride_h + 1;
  with_cheap_activation(job.epilogue.activation, [&](auto f) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t o = plane % job.out_channels;
      const float* image = job.input + plane / job.multiplier * job.h * job.w;
      float* const output = job.output + plane * job.out_h * job.out_w;
      for (int64_t i = 0; i < t; ++i) taps[i].weight = job.packed[i * job.out_channels + o];
      for (int64_t first = 0; first < job.out_h; first += strip_outputs) {
        const int64_t last = first + strip_outputs < job.out_h ? first + strip_outputs : job.out_h;
        const int64_t ih = first * job.stride_h - job.pad_top,
                      rows = (last - first - 1) * job.stride_h + span;
        for (int64_t i = 0; i < rows; ++i) {
          float* const to = memory + i * row_floats;
          if (ih + i < 0 || ih + i >= job.h) {
            for (int64_t j = 0; j < row_floats; ++j) to[j] = 0.0f;
          } else {
            for (int64_t phase = 0; phase < job.stride_w; ++phase)
              copy_phase(job, image + (ih + i) * job.w, phase, to + phase * job.pitch);
          }
        }
        for (int64_t oh = first; oh < last; ++oh)
          plane_row(job, taps, memory + (oh - first) * job.stride_h * row_floats, job.epilogue.bias[o],
                    output + oh * job.out_w, f);
        finish_exponential(job.epilogue.activation, output + first * job.out_w, job.out_w, last - first,
                           job.out_w);
      }
    }
  });
}

}  // namespace pyvision::PYVISION_ISA_NS

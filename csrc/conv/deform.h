// SPDX-License-Identifier: Apache-2.0
// Where a deformable convolution samples its input, as plain data.
#pragma once

#include <cstdint>

#include "conv/gemm.h"
#include "core/tensor.h"

namespace pyvision {

// A map whose channels may lie at any distance too: offsets and masks are read in the caller's layout.
template <class T>
struct StridedMap {
  T* data = nullptr;
  int64_t stride_n = 0, stride_c = 0, stride_h = 0, stride_w = 0;

  T* at(int64_t n, int64_t h, int64_t w) const { return data + n * stride_n + h * stride_h + w * stride_w; }
};

// Tap (kh, kw) of output pixel (oh, ow) sees the input at
//   y = oh * stride_h - pad_h + kh * dilation_h + offset[2 (g * taps + tap)],  tap = kh * kernel_w + kw
//   x = ow * stride_w - pad_w + kw * dilation_w + offset[2 (g * taps + tap) + 1]
// times mask[g * taps + tap], for the channels of offset group g.
template <class T>
struct DeformField {
  Nhwc<const T> input;  // (n, h, w, channels)
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int64_t out_h, out_w;
  int64_t offset_group_channels;  // of the input
  StridedMap<const T> offset;     // (n, offset_groups * taps * 2, out_h, out_w)
  StridedMap<const T> mask;       // (n, offset_groups * taps, out_h, out_w); data null when there is none

  int64_t taps() const { return kernel_h * kernel_w; }
};

// One weight group of a deformable convolution.
struct DeformConv : TileGemm {
  DeformField<float> field;
  int64_t first_channel, channels;  // of the input, in this group
};

}  // namespace pyvision

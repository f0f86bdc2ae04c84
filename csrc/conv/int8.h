// SPDX-License-Identifier: Apache-2.0
// Convolutions of u8 maps with s8 weights, as plain data.
//
// The sums of products of the stored values are exact in i32. Padding stands for the real number 0, so it is
// the input's zero point z; the true sum of (x - z) w is the stored one less z times the sum of all the
// channel's weights, which the bias takes in.
#pragma once

#include "conv/gemm.h"

namespace pyvision {

// What becomes of the i32 sum s of output channel o: v = act(s * scale[o]), stored as f32, or as u8:
// clamp(round(v / divisor) + zero_point, 0, 255), rounded half to even.
template <class Out_>
struct RequantizeTo {
  using Out = Out_;
  using Sum = int32_t;

  const int32_t* bias;  // (out_channels,), as all that follows padded with zeros to whole panels
  const float* scale;   // (out_channels,)
  ActivationParams activation;
  float divisor, zero_point;
};

// One group of a direct convolution.
template <class Out>
struct Int8Conv : DirectConvOf<uint8_t, RequantizeTo<Out>> {
  uint8_t input_zero_point;
};

// A depthwise convolution: output channel c sees input channel c only. Its bias and scale are in packed.
template <class Out>
struct Int8Depthwise {
  Nhwc<const uint8_t> input;
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
  const int32_t* packed;  // as Int8Kernels::pack_depthwise leaves it, for packed_rows output rows
  int64_t packed_rows;    // 2 where outputs step_h apart see windows that are one tap apart, else 1
  RowMapOf<Out> rows;
  RequantizeTo<Out> epilogue;
  uint8_t input_zero_point;
  // As those of DepthwiseConv.
  int64_t step_h, step_w, column_stride;
  int64_t row_blocks;  // per image: of packed_rows * step_h output rows each
};

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// conv2d_int8: convolution of quantised maps, ONNX's QLinearConv with u8 activations and symmetric s8
// weights.
//
//   s[o] = b[o] + sum (x - input_zero_point) w[o, ...]          exact, in i32; padding is input_zero_point
//   f32 out: y = act(s * input_scale * weight_scale[o])
//   u8 out:  y = clamp(round(v) + output_zero_point, 0, 255), rounded half to even, where
//            v = act(s * (input_scale * weight_scale[o] / output_scale))   if act(a x) = a act(x) for a > 0,
//            v = act(s * (input_scale * weight_scale[o])) / output_scale   otherwise
//   all in f32, so that the result is the same to the bit on every ISA if the activation has no exponential.
//
// https://onnx.ai/onnx/operators/onnx__QLinearConv.html
#pragma once

#include <memory>

#include "conv/int8.h"
#include "core/dispatch.h"
#include "ops/conv2d/conv2d.h"

namespace pyvision {

struct Int8Kernels {
  const char* isa;
  TileShape tile;
  // weight: (out_channels, channels, taps); packed: as Conv2dKernels::pack
  void (*pack)(const int8_t* weight, int64_t out_channels, int64_t taps, int64_t channels, float* packed);
  void (*direct_u8)(const Int8Conv<uint8_t>& job, int64_t first_tile, int64_t last_tile, int64_t panel_begin,
                    int64_t panel_end, float* scratch);
  void (*direct_f32)(const Int8Conv<float>& job, int64_t first_tile, int64_t last_tile, int64_t panel_begin,
                     int64_t panel_end, float* scratch);
  // Words of the weights below, for kernels that compute `rows` output rows at a time.
  int64_t (*packed_depthwise)(int64_t channels, int64_t kernel_h, int64_t kernel_w, int64_t rows);
  // weight: (channels, kernel_h, kernel_w); bias, scale: (channels,)
  void (*pack_depthwise)(const int8_t* weight, const int32_t* bias, const float* scale, int64_t channels,
                         int64_t kernel_h, int64_t kernel_w, int64_t rows, int32_t* packed);
  void (*depthwise_u8)(const Int8Depthwise<uint8_t>& job, int64_t block_begin, int64_t block_end);
  void (*depthwise_f32)(const Int8Depthwise<float>& job, int64_t block_begin, int64_t block_end);
};

PYVISION_EXTENDED_KERNELS(Int8Kernels, conv2d_int8, vnni, kVnni)

struct Quantization {
  float input_scale;
  uint8_t input_zero_point;
  bool to_u8;          // or f32
  float output_scale;  // these two of u8 outputs
  uint8_t output_zero_point;
};

// A sum of more products could leave i32.
constexpr int64_t kMostInt8Products = 65536;

// Immutable, so any number of threads may run it at once.
class Conv2dInt8 {
 public:
  // weight: (out_channels, in_channels / groups, kernel_h, kernel_w); weight_scale: (out_channels,);
  // bias: (out_channels,) or null, in units of input_scale * weight_scale
  Conv2dInt8(const Conv2dParams& params, const Quantization& quantization, const int8_t* weight,
             const float* weight_scale, const int32_t* bias);
  Conv2dInt8(Conv2dInt8&&) noexcept;
  ~Conv2dInt8();

  const Conv2dParams& params() const;
  const Quantization& quantization() const;
  const char* kernel_isa() const;

  // input: (n, h, w, in_channels), output: (n, out_h, out_w, out_channels), of u8 or f32 as quantization says
  void run(const Nhwc<const uint8_t>& input, const Nhwc<uint8_t>& output) const;
  void run(const Nhwc<const uint8_t>& input, const Nhwc<float>& output) const;
  // As Conv2d::run_nchw.
  void run_nchw(const uint8_t* input, int64_t n, int64_t h, int64_t w, uint8_t* output) const;
  void run_nchw(const uint8_t* input, int64_t n, int64_t h, int64_t w, float* output) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pyvision

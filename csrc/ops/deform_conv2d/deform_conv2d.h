// SPDX-License-Identifier: Apache-2.0
// deform_conv2d: y[n, oh, ow, o] = b[o] + sum_{i, tap} w[o, tap, i] m[g, tap] x(n, y_tap, x_tap, i)
//   with y_tap, x_tap, the offset group g of channel i and the mask m as conv/deform.h says; x(…) is the
//   bilinear sample of simd/bilinear-inl.h, 0 outside the image. Without a mask: Dai et al. 2017, "Deformable
//   Convolutional Networks"; with one: Zhu et al. 2019, "Deformable ConvNets v2". Sizes and groups as in
//   conv2d.
//
// Offsets and masks are (N, C, H, W) views of any strides, everything else is dense NHWC.
#pragma once

#include <cstdint>

#include "conv/deform.h"
#include "core/dispatch.h"
#include "ops/conv2d/conv2d.h"

namespace pyvision {

// Backward of one chunk of channels, which share weight and offset group, over output pixels [first_row,
// first_row + rows): what lies between the gradients of its K values and those of what they were sampled
// from.
template <class T>
struct DeformScatter {
  DeformField<T> field;
  int64_t first_row, rows;
  int64_t offset_group, channel, count;
  T* columns;  // (taps, rows, width): holds the gradients of the K values, and then the K values
  int64_t width;
  T* grad_input;  // as field.input, which is dense; added to
  T* partial;     // (rows, taps, 3): this chunk's share of the gradients of y, x and mask
};

struct DeformConv2dKernels {
  const char* isa;
  // BilinearProducer -> tile GEMM -> epilogue; arguments as Conv2dKernels::direct.
  void (*direct)(const DeformConv& job, int64_t first_tile, int64_t last_tile, int64_t panel_begin,
                 int64_t panel_end, float* scratch);
  // The K values of output pixel `row` for input channels [first, first + channels); to: (taps, channels)
  void (*sample_f64)(const DeformField<double>& field, int64_t row, int64_t first, int64_t channels,
                     double* to);
  void (*scatter_f32)(const DeformScatter<float>& job);
  void (*scatter_f64)(const DeformScatter<double>& job);
};

PYVISION_KERNELS(DeformConv2dKernels, deform_conv2d)

// The geometry of `params` over the field; `field.input`, `offset` and `mask` are set already.
template <class T>
void set_deform_geometry(const Conv2dParams& params, int64_t offset_groups, DeformField<T>* field);

// weight: (out_channels, in_channels / groups, kernel_h, kernel_w); bias: (out_channels,) or null; output:
// (n, out_h, out_w, out_channels). T: float or double.
template <class T>
void deform_conv2d(const Conv2dParams& params, const DeformField<T>& field, const T* weight, const T* bias,
                   const Nhwc<T>& output);

// The same in float32 of dense NCHW maps, input: (n, in_channels, h, w), output: (n, out_channels, out_h,
// out_w), the same to the bit; field.input has the input's extents, and no data. Strip by strip, unless
// offsets are so far apart that each strip sees most of the input.
void deform_conv2d_nchw(const Conv2dParams& params, const DeformField<float>& field, const float* input,
                        const float* weight, const float* bias, float* output);

template <class T>
struct DeformConv2dGradients {
  T* input;   // (n, h, w, in_channels)
  T* offset;  // (n, out_h, out_w, offset_groups * taps * 2)
  T* weight;  // (out_channels, in_channels / groups, kernel_h, kernel_w)
  T* bias;    // (out_channels,)
  T* mask;    // (n, out_h, out_w, offset_groups * taps), or null without a mask
};

// field.input is dense; grad_output: (n, out_h, out_w, out_channels).
template <class T>
void deform_conv2d_backward(const Conv2dParams& params, const DeformField<T>& field, const T* weight,
                            const T* grad_output, const DeformConv2dGradients<T>& grad);

}  // namespace pyvision

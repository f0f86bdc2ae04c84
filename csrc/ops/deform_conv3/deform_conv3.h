// SPDX-License-Identifier: Apache-2.0
// DCNv3 (Wang et al. 2023, "InternImage", equation 2) and DCNv4 (Xiong et al. 2024, "Efficient Deformable
// ConvNets"):
//   out[n, oh, ow, g, :] = sum over taps of mask[n, oh, ow, g, tap] * input(n, y, x, g, :)
//   x = ow * stride_w - pad_w + half_w - half_w * offset_scale + (kw * dilation_w + offset_x) * offset_scale
//   half_w = dilation_w * (kernel_w - 1) / 2, rounded down; y likewise
// input(…) is the bilinear sample of simd/bilinear-inl.h, 0 outside the image. Taps are ordered with kw
// outermost and kh innermost; with remove_center the middle one is left out, and neither offset nor mask has
// an entry for it. No softmax.
//
// The two versions differ in where offsets and masks lie:
//   DCNv3  offset (n, out_h, out_w, groups, taps, 2), in pairs x, y; mask (n, out_h, out_w, groups, taps)
//   DCNv4  one map (n, out_h, out_w, padded): for each group 2 taps offsets in pairs x, y, then its taps
//   masks;
//          3 * groups * taps channels, which may be padded at the end to a multiple of 8
//
// All arrays are dense. T: float or double.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "core/sampled_maps.h"

namespace pyvision {

// What of a pixel's offsets and masks belongs to one group: `group` elements behind the one before.
template <class T>
struct TapEntries {
  T* data;
  int64_t pixel, group;  // elements between pixels and groups

  T* at(int64_t i, int64_t g) const { return data + i * pixel + g * group; }
};

template <class T>
struct DeformConv3 {
  const T* input;  // (n, h, w, groups, group_channels)
  TapEntries<const T> offset, mask;
  int64_t n, h, w, groups, group_channels, out_h, out_w;
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  T offset_scale;
  bool remove_center;
  // Set by the op, one entry per tap.
  SampledMaps<T> maps;
  const T *tap_y, *tap_x;  // kh * dilation_h, kw * dilation_w

  int64_t taps() const { return kernel_h * kernel_w - (remove_center ? 1 : 0); }
};

template <class T>
struct DeformConv3Gradients {
  const T* output;  // (n, out_h, out_w, groups, group_channels)
  T* input;
  TapEntries<T> offset, mask;
};

struct DeformConv3Kernels {
  const char* isa;
  // Output pixels [begin, end) of n * out_h * out_w; out: (n, out_h, out_w, groups, group_channels)
  void (*forward_f32)(const DeformConv3<float>& job, int64_t begin, int64_t end, float* out);
  void (*forward_f64)(const DeformConv3<double>& job, int64_t begin, int64_t end, double* out);
  // One group of one image: grad.input is zero there at first.
  void (*backward_f32)(const DeformConv3<float>& job, const DeformConv3Gradients<float>& grad, int64_t image,
                       int64_t group);
  void (*backward_f64)(const DeformConv3<double>& job, const DeformConv3Gradients<double>& grad,
                       int64_t image, int64_t group);
};

PYVISION_KERNELS(DeformConv3Kernels, deform_conv3)

template <class T>
void deform_conv3(DeformConv3<T> job, T* out);
template <class T>
void deform_conv3_backward(DeformConv3<T> job, const DeformConv3Gradients<T>& grad);

}  // namespace pyvision

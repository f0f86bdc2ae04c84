// SPDX-License-Identifier: Apache-2.0
// Multi-scale deformable attention (Zhu et al. 2021, "Deformable DETR", equation 3):
//   out[n, q, m, :] = sum over levels l and points p of weights[n, q, m, l, p] * value_l(n, y, x, m, :)
//   x = locations[n, q, m, l, p, 0] * w_l - 0.5,   y = locations[n, q, m, l, p, 1] * h_l - 0.5
// value_l(…) is the bilinear sample of simd/bilinear-inl.h over level l, 0 outside: what grid_sample gives
// with align_corners=False and zero padding. The levels' pixels lie row by row, one level behind the other.
//
// All arrays are dense. T: float or double.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "core/sampled_maps.h"

namespace pyvision {

template <class T>
struct DeformableAttention {
  int64_t n, pixels, heads, channels;  // pixels: of all levels
  int64_t queries;
  const T* value;       // (n, pixels, heads, channels)
  const T* locations;   // (n, queries, heads, points, 2), points: of all levels
  const T* weights;     // (n, queries, heads, points)
  SampledMaps<T> maps;  // set by the op
};

template <class T>
struct DeformableAttentionGradients {
  const T* output;  // (n, queries, heads, channels)
  T *value, *locations, *weights;
};

struct DeformableAttentionKernels {
  const char* isa;
  // Queries [begin, end) of n * queries; out: (n, queries, heads, channels)
  void (*forward_f32)(const DeformableAttention<float>& job, int64_t begin, int64_t end, float* out);
  void (*forward_f64)(const DeformableAttention<double>& job, int64_t begin, int64_t end, double* out);
  // One head of one image: grad.value is zero there at first.
  void (*backward_f32)(const DeformableAttention<float>& job, const DeformableAttentionGradients<float>& grad,
                       int64_t image, int64_t head);
  void (*backward_f64)(const DeformableAttention<double>& job,
                       const DeformableAttentionGradients<double>& grad, int64_t image, int64_t head);
};

PYVISION_KERNELS(DeformableAttentionKernels, multi_scale_deformable_attention)

// shapes: (levels, 2), the (h, w) of each, their products summing to job.pixels; points: per level.
template <class T>
void deformable_attention(DeformableAttention<T> job, const int64_t* shapes, int64_t levels, int64_t points,
                          T* out);
template <class T>
void deformable_attention_backward(DeformableAttention<T> job, const int64_t* shapes, int64_t levels,
                                   int64_t points, const DeformableAttentionGradients<T>& grad);

}  // namespace pyvision

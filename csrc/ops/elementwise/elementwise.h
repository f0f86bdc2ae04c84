// SPDX-License-Identifier: Apache-2.0
// Element-wise operations on images, with an activation f at the end:
//   activate: y = f(x)      add: y = f(a + b)      mul: y = f(a * b)      mul_add: y = f(a * b + c)
//
// NHWC, any distance between pixels. a has y's shape; b and c have y's channels, and their n, h, w may be 1
// where y's are not: a bias (1, 1, 1, C), a gate per image and channel (N, 1, 1, C), a map shared by a batch.
// y may be the very memory of an operand of its shape, but not overlap it otherwise.
#pragma once

#include <cstdint>

#include "core/activation.h"
#include "core/dispatch.h"
#include "core/tensor.h"

namespace pyvision {

void activate(const ActivationParams& f, const Nhwc<const float>& x, const Nhwc<float>& y);
void add(const Nhwc<const float>& a, const Nhwc<const float>& b, const ActivationParams& f,
         const Nhwc<float>& y);
void mul(const Nhwc<const float>& a, const Nhwc<const float>& b, const ActivationParams& f,
         const Nhwc<float>& y);
void mul_add(const Nhwc<const float>& a, const Nhwc<const float>& b, const Nhwc<const float>& c,
             const ActivationParams& f, const Nhwc<float>& y);

// A part of a larger map, or into one: concatenations and splits are copies between views.
inline void copy(const Nhwc<const float>& x, const Nhwc<float>& y) { activate({}, x, y); }

// `count` pixels, `step` elements apart; 0 repeats one.
template <class T>
struct PixelRow {
  T* data;
  int64_t step;
};
using ConstRow = PixelRow<const float>;

struct ElementwiseKernels {
  const char* isa;
  void (*activate)(const ActivationParams& f, ConstRow x, PixelRow<float> y, int64_t count, int64_t channels);
  void (*add)(const ActivationParams& f, ConstRow a, ConstRow b, PixelRow<float> y, int64_t count,
              int64_t channels);
  void (*mul)(const ActivationParams& f, ConstRow a, ConstRow b, PixelRow<float> y, int64_t count,
              int64_t channels);
  void (*mul_add)(const ActivationParams& f, ConstRow a, ConstRow b, ConstRow c, PixelRow<float> y,
                  int64_t count, int64_t channels);
};

PYVISION_KERNELS(ElementwiseKernels, elementwise)

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// softmax: y[o, i, k] = e^(x[o, i, k] - m) / sum_j e^(x[o, j, k] - m), m = max_j x[o, j, k]
//
// The array is seen as (outer, axis, inner) around the axis the sum runs over. Subtracting the maximum keeps
// every exponent <= 0, so nothing overflows.
#pragma once

#include <cstdint>

#include "core/dispatch.h"

namespace pyvision {

struct SoftmaxKernels {
  const char* isa;
  // x: (axis,), y: (axis,)
  void (*row)(const float* x, float* y, int64_t axis);
  // x: (axis, inner), y: (axis, inner), the sum runs over axis
  void (*columns)(const float* x, float* y, int64_t axis, int64_t inner);
};

PYVISION_KERNELS(SoftmaxKernels, softmax)

// x: (outer, axis, inner), y: the same shape; both dense. They may be the same array.
void softmax(const float* x, float* y, int64_t outer, int64_t axis, int64_t inner);

}  // namespace pyvision

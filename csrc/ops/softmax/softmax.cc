// SPDX-License-Identifier: Apache-2.0
#include "ops/softmax/softmax.h"

#include <algorithm>

#include "core/parallel.h"

namespace pyvision {

void softmax(const float* x, float* y, int64_t outer, int64_t axis, int64_t inner) {
  if (outer * axis * inner == 0) return;
  const SoftmaxKernels& kernels = softmax_kernels();
  const int64_t slice = axis * inner;
  const int64_t grain = std::max<int64_t>(1, 16384 / slice);  // about 50 us of exponentials
  parallel_for(outer, grain, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      if (inner == 1)
        kernels.row(x + o * slice, y + o * slice, axis);
      else
        kernels.columns(x + o * slice, y + o * slice, axis, inner);
    }
  });
}

}  // namespace pyvision

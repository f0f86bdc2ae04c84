// SPDX-License-Identifier: Apache-2.0
// Sums over boxes in four reads: csrc/ops/grey_filters/integral_image.h on the device.
#pragma once

#include <cuda_runtime.h>

#include "common/device.h"
#include "common/workspace.h"

namespace pyvision::cuda {

// Row y, column x: the sum of all pixels above y and left of x, in bytes' units or 256ths of them. Sums wrap,
// and their differences are right again.
struct IntegralSums {
  uint32_t* data = nullptr;  // (h + 1, w + 1)
  int32_t h = 0, w = 0;
  float unit = 1;  // of one grey level

  int64_t size() const { return (int64_t{h} + 1) * (w + 1); }
};

struct IntegralSpace {
  IntegralSums sums;
  uint32_t* bands;  // for sums on the way

  // floats: on the scale 0 to 255, which are taken in 256ths; else bytes
  IntegralSpace(Workspace* workspace, int32_t h, int32_t w, bool floats);
};

// picture: (h, w), of what the space was made for
void integrate(const char* op, const Stream& stream, const void* picture, const IntegralSpace& space);

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
// roi_align on the device: averages, as csrc/ops/roi_align/roi_align.h says, of maps in f32, f16 or bf16,
// with positions and sums in f32. What the CPU refuses would have to be read back here: bins of a box whose
// image does not exist are NaN, samples at positions that are not finite are 0.
#pragma once

#include <cstdint>

#include "common/device.h"
#include "core/tensor.h"

namespace pyvision::cuda {

struct RoiAlignProblem {
  DType dtype = DType::kF32;    // of input and output: kF32, kF16, kBf16
  const void* input = nullptr;  // (n, h, w, channels)
  int64_t n = 0, h = 0, w = 0, channels = 0;
  const float* boxes = nullptr;  // (count, 5)
  int64_t count = 0;
  int64_t bins_h = 1, bins_w = 1;
  float spatial_scale = 1;
  int64_t sampling_ratio = -1;  // not positive: by the size of the bins
  bool aligned = false;
  void* output = nullptr;  // (count, bins_h, bins_w, channels)
};

void roi_align(const char* op, const Stream& stream, const RoiAlignProblem& problem);

}  // namespace pyvision::cuda

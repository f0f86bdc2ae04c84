// SPDX-License-Identifier: Apache-2.0
// Pooling on the device: what csrc/ops/pool2d/pool2d.h says, of maps in f32, f16 or bf16 with sums in f32.
#pragma once

#include <cstdint>

#include "common/device.h"
#include "core/tensor.h"
#include "ops/pool2d/params.h"

namespace pyvision::cuda {

enum class Pooling : uint8_t { kMaximum, kMaximumPlaces, kAverage, kAdaptiveAverage };

struct Pool2dProblem {
  Pooling kind = Pooling::kMaximum;
  Pool2dParams params;          // of maxima and averages
  DType dtype = DType::kF32;    // kF32, kF16, kBf16
  const void* input = nullptr;  // (n, h, w, channels)
  int64_t n = 0, h = 0, w = 0, channels = 0;
  int64_t out_h = 0, out_w = 0;
  void* output = nullptr;  // (n, out_h, out_w, channels)
  // Of kMaximumPlaces, like the output: h * W + w of each maximum, -1 where a window misses the image.
  int64_t* places = nullptr;
};

void pool2d(const char* op, const Stream& stream, const Pool2dProblem& problem);

// The gradient by the input: what csrc/ops/pool2d_backward/pool2d_backward.h says. grad_input:
// (n, h, w, channels); grad_output and places, which kMaximumPlaces reads: (n, out_h, out_w, channels). The
// problem's input and output are not looked at.
void pool2d_backward(const char* op, const Stream& stream, const Pool2dProblem& problem,
                     const void* grad_output, void* grad_input);

}  // namespace pyvision::cuda

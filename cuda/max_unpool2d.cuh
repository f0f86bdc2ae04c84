// SPDX-License-Identifier: Apache-2.0
// What csrc/ops/max_unpool2d/max_unpool2d.h says, on the device, of maps in f32, f16 or bf16. No index is
// looked at on the host: one that lies outside the map moves nothing.
#pragma once

#include <cstdint>

#include "common/device.h"
#include "core/tensor.h"

namespace pyvision::cuda {

struct MaxUnpoolProblem {
  DType dtype = DType::kF32;  // kF32, kF16, kBf16
  int64_t n = 0, channels = 0;
  int64_t values = 0, places = 0;    // h * w of the values, and of the map among whose zeros they are put
  const int64_t* indices = nullptr;  // (n, values, channels)
};

size_t max_unpool2d_workspace(const MaxUnpoolProblem& problem);
// input: (n, values, channels), output: (n, places, channels)
void max_unpool2d(const char* op, const Stream& stream, const MaxUnpoolProblem& problem, const void* input,
                  void* workspace, void* output);
// grad_output: as output, grad_input: as input
void max_unpool2d_backward(const char* op, const Stream& stream, const MaxUnpoolProblem& problem,
                           const void* grad_output, void* grad_input);

}  // namespace pyvision::cuda

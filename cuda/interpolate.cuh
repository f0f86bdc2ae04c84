// SPDX-License-Identifier: Apache-2.0
// Resizing on the device: what csrc/ops/interpolate/interpolate.h says without an addend, of maps in f32, f16
// or bf16, computed in f32. Planar maps are images of one channel.
#pragma once

#include "common/device.h"
#include "core/tensor.h"
#include "ops/interpolate/params.h"

namespace pyvision::cuda {

struct InterpolateProblem {
  InterpolateParams params;
  DType dtype = DType::kF32;    // kF32, kF16, kBf16
  const void* input = nullptr;  // (n, h, w, channels)
  int64_t n = 0, h = 0, w = 0, channels = 0;
  int64_t out_h = 0, out_w = 0;
  void* output = nullptr;  // (n, out_h, out_w, channels)
};

// Bytes of the workspace, of the op or of its gradient: none of nearest and bilinear without antialias.
size_t interpolate_workspace(const InterpolateProblem& problem, bool backward);

void interpolate(const char* op, const Stream& stream, const InterpolateProblem& problem, void* workspace);
// Its gradient: `output` holds that of the result, and that of the input goes to `grad_input`, (n, h, w,
// channels). Every pixel pulls from the outputs that read it, in a fixed order.
void interpolate_backward(const char* op, const Stream& stream, const InterpolateProblem& problem,
                          void* workspace, void* grad_input);

// Of wide filters: the op, or with grad_input its gradient.
void interpolate_wide(const char* op, const Stream& stream, const InterpolateProblem& problem,
                      void* workspace, void* grad_input);

}  // namespace pyvision::cuda

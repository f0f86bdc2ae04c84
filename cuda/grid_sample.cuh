// SPDX-License-Identifier: Apache-2.0
// Maps sampled at positions in [-1, 1] on the device, and its gradients: csrc/ops/warp/grid_sample.h, of maps
// in f32, f16 or bf16 and grids in f32, computed in f32.
#pragma once

#include "common/device.h"
#include "core/tensor.h"
#include "ops/warp/params.h"

namespace pyvision::cuda {

struct GridSampleProblem {
  GridSampleParams params;
  DType dtype = DType::kF32;    // kF32, kF16, kBf16
  const void* input = nullptr;  // (n, h, w, channels)
  const float* grid = nullptr;  // (n, out_h, out_w, 2)
  int64_t n = 0, h = 0, w = 0, channels = 0;
  int64_t out_h = 0, out_w = 0;
};

// output: (n, out_h, out_w, channels)
void grid_sample(const char* op, const Stream& stream, const GridSampleProblem& problem, void* output);

size_t grid_sample_backward_workspace_bytes(const char* op, const Stream& stream,
                                            const GridSampleProblem& problem);
// grad_output: as the output; grad_input: as the input; grad_grid: as the grid. Fewer than 2^31 samples.
void grid_sample_backward(const char* op, const Stream& stream, const GridSampleProblem& problem,
                          const void* grad_output, void* workspace, void* grad_input, float* grad_grid);
// What the workspace's indices can count.
int64_t grid_sample_count(const GridSampleProblem& problem);

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
// Deformable attention on the device: what csrc/ops/multi_scale_deformable_attention says, of arrays in f32,
// f16 or bf16 with positions and sums in f32. The levels' shapes are not read back to be checked: a level
// that does not fit behind those before it has no pixels.
#pragma once

#include <cstdint>

#include "common/device.h"
#include "core/tensor.h"

namespace pyvision::cuda {

struct AttentionProblem {
  DType dtype = DType::kF32;  // of all arrays but the shapes: kF32, kF16, kBf16
  int64_t n = 0, pixels = 0, heads = 1, channels = 0, queries = 0;
  int64_t levels = 0, points = 0;   // points: of each level
  const void* value = nullptr;      // (n, pixels, heads, channels)
  const int64_t* shapes = nullptr;  // (levels, 2)
  const void* locations = nullptr;  // (n, queries, heads, levels, points, 2)
  const void* weights = nullptr;    // (n, queries, heads, levels, points)
};

struct AttentionGradients {
  const void* output = nullptr;  // (n, queries, heads, channels)
  void *value = nullptr, *locations = nullptr, *weights = nullptr;
};

void multi_scale_deformable_attention(const char* op, const Stream& stream, const AttentionProblem& p,
                                      void* output);
size_t attention_backward_workspace_bytes(const char* op, const Stream& stream, const AttentionProblem& p);
void multi_scale_deformable_attention_backward(const char* op, const Stream& stream,
                                               const AttentionProblem& p, const AttentionGradients& grad,
                                               void* workspace);

}  // namespace pyvision::cuda

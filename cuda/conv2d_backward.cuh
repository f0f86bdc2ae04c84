// SPDX-License-Identifier: Apache-2.0
// Gradients of conv2d on the device, in f32, f16 or bf16 with sums in f32. That by the input is
// conv_transpose2d. Sums over pixels are split, and the parts added up in a fixed order: no atomics, so that
// results repeat.
#pragma once

#include "conv2d.cuh"

namespace pyvision::cuda {

// p: the convolution, of which input and the shapes are used; grad: (n, out_h, out_w, out_channels);
// grad_weight: of the weight's shape.
size_t conv2d_grad_weight_workspace_bytes(const Stream& stream, const ConvProblem& p);
void conv2d_grad_weight(const char* op, const Stream& stream, const ConvProblem& p, const void* grad,
                        void* workspace, void* grad_weight);
// One input channel to a group; grad_weight: (kernel_h, kernel_w, out_channels).
size_t depthwise_grad_weight_workspace_bytes(const Stream& stream, const ConvProblem& p);
void depthwise_grad_weight(const char* op, const Stream& stream, const ConvProblem& p, const void* grad,
                           void* workspace, void* grad_weight);

// The sum of all rows of x: (rows, channels). sum: (channels,). This is the gradient of a bias.
size_t sum_rows_workspace_bytes(const Stream& stream, int64_t rows, int64_t channels);
void sum_rows(const char* op, const Stream& stream, DType dtype, const void* x, int64_t rows,
              int64_t channels, void* workspace, void* sum);

}  // namespace pyvision::cuda

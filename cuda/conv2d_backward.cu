// SPDX-License-Identifier: Apache-2.0
#include "conv2d_backward.cuh"

#include "common/split_sums.cuh"
#include "weight_gemm.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kMostWeightSplits = 256;  // of the pixels, which are many where weights are few

struct WeightPlan {
  int block_m, stages, splits;
};

WeightPlan plan_of(const Stream& stream, const ConvGeometry& g, DType dtype) {
  const auto pixels = static_cast<int64_t>(kRowBytes / item_bytes(dtype));
  WeightPlan plan = {dtype != DType::kF32 && g.group_out > 64 ? 128 : 64,
                     static_cast<int>(blocks_of(g.rows, pixels)), 1};
  const int64_t tiles =
      int64_t{blocks_of(g.group_out, plan.block_m)} * blocks_of(depth_of(g), 64) * groups_of(g);
  plan.splits = splits_for(stream, tiles, 4, plan.stages, kStagesPerSplit, kMostWeightSplits);
  return plan;
}

int64_t weights_of(const ConvGeometry& g) { return depth_of(g) * g.out_channels; }

template <class Consumer, class T>
void start(const char* op, const Stream& stream, const WeightPlan& plan, WeightGradient<T> job) {
  const ConvGeometry& g = job.g;
  const bool packed = in_packs<T>(g.group_in, job.input) && in_packs<T>(g.group_out, job.grad);
  job.column_blocks = static_cast<int>(blocks_of(job.depth, Consumer::BLOCK_N));
  const unsigned rows = blocks_of(g.group_out, Consumer::BLOCK_M);
  const dim3 grid(rows * static_cast<unsigned>(job.column_blocks), static_cast<unsigned>(plan.splits),
                  static_cast<unsigned>(groups_of(g)));
  const LaunchShape shape = {grid, kGemmThreads, kGemmSharedBytes<Consumer>};
  launch(op, stream, shape, packed ? weight_gemm<Consumer, T, true> : weight_gemm<Consumer, T, false>, job);
}

template <class T>
void run(const char* op, const Stream& stream, const ConvProblem& p, const void* grad, void* workspace,
         void* grad_weight) {
  const ConvGeometry g = geometry_of(p);
  const WeightPlan plan = plan_of(stream, g, p.dtype);
  WeightGradient<T> job = {};
  job.g = g;
  job.input = static_cast<const T*>(p.input);
  job.grad = static_cast<const T*>(grad);
  job.depth = depth_of(g);
  job.stages = plan.stages;
  job.stages_per_split = static_cast<int>(blocks_of(plan.stages, plan.splits));
  job.partial = Workspace(workspace).take<float>(plan.splits * weights_of(g));
  if constexpr (sizeof(T) == 2) {
    if (plan.block_m == 128) {
      start<TransposedMmaConsumer<T, 128, 64>>(op, stream, plan, job);
    } else {
      start<TransposedMmaConsumer<T, 64, 64>>(op, stream, plan, job);
    }
  } else {
    start<TransposedFmaConsumer<64, 64>>(op, stream, plan, job);
  }
  add_splits(op, stream, job.partial, plan.splits, weights_of(g), static_cast<T*>(grad_weight));
}

// Of blocks of rows; a thread has a channel.
template <class T>
__global__ void sum_rows_kernel(const T* x, int64_t rows, int64_t rows_per_split, int64_t channels,
                                float* partial) {
  const int64_t channel = int64_t{blockIdx.x} * kSplitThreads + threadIdx.x, split = blockIdx.y;
  if (channel >= channels) return;
  const int64_t first = split * rows_per_split, last = min(rows, first + rows_per_split);
  float sum = 0;
  for (int64_t row = first; row < last; ++row) sum += to_float(x[row * channels + channel]);
  partial[split * channels + channel] = sum;
}

int row_splits(const Stream& stream, int64_t rows, int64_t channels) {
  constexpr int kLeastRows = 64;
  return splits_for(stream, blocks_of(channels, kSplitThreads), 4, rows, kLeastRows, 1024);
}

}  // namespace

size_t conv2d_grad_weight_workspace_bytes(const Stream& stream, const ConvProblem& p) {
  const ConvGeometry g = geometry_of(p);
  return split_bytes(plan_of(stream, g, p.dtype).splits, weights_of(g));
}

void conv2d_grad_weight(const char* op, const Stream& stream, const ConvProblem& p, const void* grad,
                        void* workspace, void* grad_weight) {
  with_float(p.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, p, grad, workspace, grad_weight); });
}

size_t sum_rows_workspace_bytes(const Stream& stream, int64_t rows, int64_t channels) {
  return split_bytes(row_splits(stream, rows, channels), channels);
}

void sum_rows(const char* op, const Stream& stream, DType dtype, const void* x, int64_t rows,
              int64_t channels, void* workspace, void* sum) {
  const int splits = row_splits(stream, rows, channels);
  float* const partial = Workspace(workspace).take<float>(splits * channels);
  const LaunchShape shape = {{blocks_of(channels, kSplitThreads), static_cast<unsigned>(splits)},
                             kSplitThreads};
  with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(op, stream, shape, sum_rows_kernel<T>, static_cast<const T*>(x), rows,
           int64_t{blocks_of(rows, splits)}, channels, partial);
    add_splits(op, stream, partial, splits, channels, static_cast<T*>(sum));
  });
}

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
#include "conv2d.cuh"

#include "common/launch.cuh"
#include "common/workspace.h"
#include "gemm.cuh"
#include "producers.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kFinishThreads = 256;
constexpr int kMostSplits = 16;     // of K; more of them cost more to add up than they gain
constexpr int kStagesPerSplit = 8;  // fewer do not fill the pipeline

// What is done with a sum before it is stored.
template <class T>
struct Epilogue {
  const T* bias;
  const T* residual;
  T* output;
  ActivationParams activation;
  int64_t pixel_stride;  // out_channels

  __device__ __forceinline__ T apply(float sum, int64_t at, int channel) const {
    if (bias != nullptr) sum += to_float(bias[channel]);
    if (residual != nullptr) sum += to_float(residual[at]);
    return from_float<T>(activate(activation, sum));
  }
};

template <class T>
struct Conv {
  ConvGeometry g;
  const T* input;
  const T* weight;
  Epilogue<T> epilogue;
  float* partial;  // (splits, rows, out_channels), or null: one split, which stores the result
  int64_t depth;   // taps * group_in
  int stages, stages_per_split, column_blocks;
};

// Two blocks on a multiprocessor, which is what their registers and stages allow.
// blockIdx.x: row and column blocks, columns first, for blocks side by side share rows of the input;
// blockIdx.y: the split of K; blockIdx.z: the group
template <class Consumer, class T, bool kPacked>
__global__ void __launch_bounds__(kGemmThreads, 2) conv_gemm(Conv<T> job) {
  const ConvGeometry& g = job.g;
  const int64_t first_row = int64_t{blockIdx.x / job.column_blocks} * Consumer::BLOCK_M;
  const int first_column = static_cast<int>(blockIdx.x % job.column_blocks) * Consumer::BLOCK_N;
  const int split = static_cast<int>(blockIdx.y), group = static_cast<int>(blockIdx.z);
  const int begin = split * job.stages_per_split, end = min(job.stages, begin + job.stages_per_split);

  CopyProducer<T, Consumer::BLOCK_M, kPacked> inputs(g, job.input, group, first_row, begin);
  WeightProducer<T, Consumer::BLOCK_N, kPacked> weights(job.weight + group * g.group_out * job.depth,
                                                        g.group_out, job.depth, first_column, begin);
  Consumer consumer;
  multiply_tile(inputs, weights, end - begin, dynamic_shared<unsigned char>(), consumer);

  float* const partial = job.partial == nullptr ? nullptr : job.partial + split * g.rows * g.out_channels;
  consumer.for_each_pair([&](int row, int column, float first, float second) {
    const int64_t m = first_row + row;
    const float sums[2] = {first, second};
    for (int i = 0; i < 2; ++i) {
      const int n = first_column + column + i;  // [0, group_out) or beyond
      if (m >= g.rows || n >= g.group_out) continue;
      const int channel = group * g.group_out + n;
      const int64_t at = m * g.out_channels + channel;
      if (partial != nullptr) {
        partial[at] = sums[i];
      } else {
        job.epilogue.output[at] = job.epilogue.apply(sums[i], at, channel);
      }
    }
  });
}

// The splits in rising order, so that the result does not hang on which block came first.
template <class T>
__global__ void finish_splits(const float* partial, int splits, int64_t count, int channels,
                              Epilogue<T> epilogue) {
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= count) return;
  float sum = 0;
  for (int split = 0; split < splits; ++split) sum += partial[split * count + at];
  epilogue.output[at] = epilogue.apply(sum, at, static_cast<int>(at % channels));
}

struct Plan {
  int block_m, block_n, stages, splits;
};

size_t item_bytes(const ConvProblem& p) { return p.dtype == DType::kF32 ? 4 : 2; }

Plan plan_of(const Stream& stream, const ConvProblem& p) {
  const ConvGeometry g = geometry_of(p);
  const int64_t depth = int64_t{g.kernel_h} * g.kernel_w * g.group_in;
  const auto tiles = [&](int m, int n) {
    return int64_t{blocks_of(g.rows, m)} * blocks_of(g.group_out, n) * p.params.groups;
  };
  Plan plan = {128, 64, static_cast<int>(blocks_of(depth * static_cast<int64_t>(item_bytes(p)), kRowBytes)),
               1};
  const int64_t processors = multiprocessors(stream.device);
  if (g.group_out > 64 && tiles(128, 128) >= processors && (p.dtype != DType::kF32 || p.tf32))
    plan.block_n = 128;
  if (tiles(plan.block_m, plan.block_n) < processors) plan.block_m = 64;
  const int64_t all = tiles(plan.block_m, plan.block_n);
  if (all == 0) return plan;
  const int64_t wanted = processors / all, most = plan.stages / kStagesPerSplit;
  const int64_t splits = wanted < most ? wanted : most;
  plan.splits = static_cast<int>(splits < 1 ? 1 : splits > kMostSplits ? kMostSplits : splits);
  return plan;
}

bool packs(const ConvProblem& p, int64_t pack) {
  const auto aligned = [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; };
  const int64_t in = p.params.in_channels;
  return in % pack == 0 && in / p.params.groups % pack == 0 && aligned(p.input) && aligned(p.weight);
}

template <class Consumer, class T>
void start(const char* op, const Stream& stream, const ConvProblem& p, const Plan& plan, Conv<T> job) {
  const unsigned rows = blocks_of(job.g.rows, Consumer::BLOCK_M);
  job.column_blocks = static_cast<int>(blocks_of(job.g.group_out, Consumer::BLOCK_N));
  const dim3 grid(rows * static_cast<unsigned>(job.column_blocks), static_cast<unsigned>(plan.splits),
                  static_cast<unsigned>(p.params.groups));
  const LaunchShape shape = {grid, kGemmThreads, kGemmSharedBytes<Consumer>};
  launch(op, stream, shape, packs(p, kPack<T>) ? conv_gemm<Consumer, T, true> : conv_gemm<Consumer, T, false>,
         job);
}

// Mma: what mma.sync takes
template <class Mma, class T>
void start_mma(const char* op, const Stream& stream, const ConvProblem& p, const Plan& plan,
               const Conv<T>& job) {
  if (plan.block_n == 128) return start<MmaConsumer<Mma, 128, 128>>(op, stream, p, plan, job);
  if (plan.block_m == 128) return start<MmaConsumer<Mma, 128, 64>>(op, stream, p, plan, job);
  start<MmaConsumer<Mma, 64, 64>>(op, stream, p, plan, job);
}

template <class T>
void run(const char* op, const Stream& stream, const ConvProblem& p, void* workspace) {
  const Plan plan = plan_of(stream, p);
  Conv<T> job = {};
  job.g = geometry_of(p);
  job.input = static_cast<const T*>(p.input);
  job.weight = static_cast<const T*>(p.weight);
  job.epilogue = {static_cast<const T*>(p.bias), static_cast<const T*>(p.residual), static_cast<T*>(p.output),
                  p.params.activation, job.g.out_channels};
  job.depth = int64_t{job.g.kernel_h} * job.g.kernel_w * job.g.group_in;
  job.stages = plan.stages;
  job.stages_per_split = static_cast<int>(blocks_of(plan.stages, plan.splits));
  const int64_t count = job.g.rows * job.g.out_channels;
  if (plan.splits > 1) job.partial = Workspace(workspace).take<float>(plan.splits * count);

  if constexpr (sizeof(T) == 2) {
    start_mma<T>(op, stream, p, plan, job);
  } else if (p.tf32) {
    start_mma<Tf32>(op, stream, p, plan, job);
  } else if (plan.block_m == 128) {
    start<FmaConsumer<128, 64>>(op, stream, p, plan, job);
  } else {
    start<FmaConsumer<64, 64>>(op, stream, p, plan, job);
  }
  if (plan.splits > 1)
    launch(op, stream, {blocks_of(count, kFinishThreads), kFinishThreads}, finish_splits<T>, job.partial,
           plan.splits, count, job.g.out_channels, job.epilogue);
}

}  // namespace

ConvGeometry geometry_of(const ConvProblem& p) {
  const Conv2dParams& q = p.params;
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  return {narrow(p.h),
          narrow(p.w),
          narrow(p.out_h()),
          narrow(p.out_w()),
          narrow(q.kernel_h),
          narrow(q.kernel_w),
          narrow(q.stride_h),
          narrow(q.stride_w),
          narrow(q.pad_top),
          narrow(q.pad_left),
          narrow(q.dilation_h),
          narrow(q.dilation_w),
          narrow(q.in_channels),
          narrow(q.out_channels),
          narrow(q.in_channels / q.groups),
          narrow(q.out_channels / q.groups),
          p.n * p.out_h() * p.out_w()};
}

size_t conv2d_workspace_bytes(const Stream& stream, const ConvProblem& p) {
  const Plan plan = plan_of(stream, p);
  if (plan.splits == 1) return 0;
  Workspace space;
  space.take<float>(plan.splits * p.n * p.out_h() * p.out_w() * p.params.out_channels);
  return space.bytes();
}

void conv2d(const char* op, const Stream& stream, const ConvProblem& p, void* workspace) {
  if (p.dtype == DType::kF16) return run<__half>(op, stream, p, workspace);
  if (p.dtype == DType::kBf16) return run<__nv_bfloat16>(op, stream, p, workspace);
  run<float>(op, stream, p, workspace);
}

}  // namespace pyvision::cuda

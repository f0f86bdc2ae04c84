// SPDX-License-Identifier: Apache-2.0
// A convolution as a tile GEMM: the grid, the split of K, the epilogue. Every convolution whose inputs some
// producer can lay out as rows of A runs through here.
#pragma once

#include "common/split_sums.cuh"
#include "gemm.cuh"
#include "producers.cuh"

namespace pyvision::cuda {

constexpr int kFinishThreads = 256;
constexpr int kMostSplits = 16;     // of K; more of them cost more to add up than they gain
constexpr int kStagesPerSplit = 8;  // fewer do not fill the pipeline

// What is done with a sum before it is stored.
template <class T>
struct Epilogue {
  const T* bias;
  const T* residual;  // never the output's memory: it is read as what does not change
  T* output;
  ActivationParams activation;

  // at: where the first of the kVec outputs lies, channel: which one it is of
  template <int kVec>
  __device__ __forceinline__ void store(float (&sum)[kVec], int64_t at, int channel) const {
    float term[kVec];
    if (bias != nullptr) {
      load_floats<kVec>(bias + channel, term);
      for (int i = 0; i < kVec; ++i) sum[i] += term[i];
    }
    if (residual != nullptr) {
      load_floats<kVec>(residual + at, term);
      for (int i = 0; i < kVec; ++i) sum[i] += term[i];
    }
    for (int i = 0; i < kVec; ++i) sum[i] = activate(activation, sum[i]);
    store_floats<kVec>(sum, output + at);
  }
};

// Source: what A is made from, with its Item and a Producer, and where a row's output lies, see
// producers.cuh.
template <class Source>
struct Conv {
  using T = typename Source::Item;
  ConvGeometry g;
  Source source;
  const T* weight;
  Epilogue<T> epilogue;
  float* partial;  // (splits, rows, out_channels), or null: one split, which stores the result
  int64_t depth;   // taps * group_in
  int stages, stages_per_split, column_blocks;
  bool packed_outputs;  // whether a group's outputs, and what is added to them, come in packs of 16 bytes
};

// Where a sum lies in a block's tile of them: chunks of 8 columns are permuted by the row, so that neither of
// the consumers' pairs, of which 16 threads store those of two or of four rows, meet in a bank.
template <class Consumer>
__device__ __forceinline__ int sum_index(int row, int column) {
  return row * Consumer::BLOCK_N + (column ^ ((row & 1) << 4 | (row & 2) << 2));
}

// Stores the tile of sums `smem`, kVec channels of a row a thread at a time. A loop that stays one: unrolled
// with the sums in registers there would be an activation, with all its branches, for each of them, and ptxas
// would take half of its time for that.
template <class Consumer, int kVec, class Source>
__device__ __forceinline__ void store_tile(const Conv<Source>& job, const float* smem, float* partial,
                                           int64_t first_row, int first_column, int group) {
  constexpr int kVectors = Consumer::BLOCK_N / kVec;
  const ConvGeometry& g = job.g;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Consumer::BLOCK_M * kVectors; i += kGemmThreads) {
    const int row = i / kVectors, column = i % kVectors * kVec, n = first_column + column;
    const int64_t m = first_row + row;
    if (m >= g.rows || n >= g.group_out) continue;
    const float* const from = smem + sum_index<Consumer>(row, column);
    float sum[kVec];
#pragma unroll
    for (int j = 0; j < kVec; j += 4) {
      if constexpr (kVec == 1) {
        sum[0] = *from;
      } else {
        const float4 four = *reinterpret_cast<const float4*>(from + j);
        sum[j] = four.x, sum[j + 1] = four.y, sum[j + 2] = four.z, sum[j + 3] = four.w;
      }
    }
    const int channel = group * g.group_out + n;
    if (partial != nullptr) {
      store_packs<kVec>(sum, partial + m * g.out_channels + channel);
    } else {
      job.epilogue.template store<kVec>(sum, job.source.output_pixel(g, m) * g.out_channels + channel,
                                        channel);
    }
  }
}

// Two blocks on a multiprocessor, which is what their registers and stages allow.
// blockIdx.x: row and column blocks, columns first, for blocks side by side share rows of the input;
// blockIdx.y: the split of K; blockIdx.z: the group
template <class Consumer, class Source, bool kPacked>
__global__ void __launch_bounds__(kGemmThreads, 2) conv_gemm(Conv<Source> job) {
  using T = typename Source::Item;
  const ConvGeometry& g = job.g;
  const int64_t first_row = int64_t{blockIdx.x / job.column_blocks} * Consumer::BLOCK_M;
  const int first_column = static_cast<int>(blockIdx.x % job.column_blocks) * Consumer::BLOCK_N;
  const int split = static_cast<int>(blockIdx.y), group = static_cast<int>(blockIdx.z);
  const int begin = split * job.stages_per_split, end = min(job.stages, begin + job.stages_per_split);

  typename Source::template Producer<Consumer::BLOCK_M, kPacked> inputs(g, job.source, group, first_row,
                                                                        begin);
  WeightProducer<T, Consumer::BLOCK_N, kPacked> weights(job.weight + group * g.group_out * job.depth,
                                                        g.group_out, job.depth, first_column, begin);
  Consumer consumer;
  unsigned char* const smem = dynamic_shared<unsigned char>();
  multiply_tile(inputs, weights, end - begin, smem, consumer);

  static_assert(sizeof(float) * Consumer::BLOCK_M * Consumer::BLOCK_N <= kGemmSharedBytes<Consumer>,
                "the sums take the place of the stages");
  float* const sums = reinterpret_cast<float*>(smem);
  __syncthreads();  // all are done with the stages
  consumer.for_each_pair([&](int row, int column, float first, float second) {
    *reinterpret_cast<float2*>(sums + sum_index<Consumer>(row, column)) = make_float2(first, second);
  });
  __syncthreads();
  float* const partial = job.partial == nullptr ? nullptr : job.partial + split * g.rows * g.out_channels;
  if (job.packed_outputs)
    store_tile<Consumer, kPack<T>>(job, sums, partial, first_row, first_column, group);
  else
    store_tile<Consumer, 1>(job, sums, partial, first_row, first_column, group);
}

// The splits in rising order, so that the result does not hang on which block came first.
template <class Source>
__global__ void finish_splits(Conv<Source> job, int splits) {
  const ConvGeometry& g = job.g;
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, count = g.rows * g.out_channels;
  if (index >= count) return;
  float sum[1] = {};
  for (int split = 0; split < splits; ++split) sum[0] += job.partial[split * count + index];
  const auto channel = static_cast<int>(index % g.out_channels);
  const int64_t at = job.source.output_pixel(g, index / g.out_channels) * g.out_channels + channel;
  job.epilogue.template store<1>(sum, at, channel);
}

struct Plan {
  int block_m, block_n, stages, splits;
};

inline size_t item_bytes(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }
inline int groups_of(const ConvGeometry& g) { return g.in_channels / g.group_in; }
inline int64_t depth_of(const ConvGeometry& g) { return int64_t{g.kernel_h} * g.kernel_w * g.group_in; }

// wide: whether there is a kernel for tiles of 128 columns.
inline Plan plan_of(const Stream& stream, const ConvGeometry& g, DType dtype, bool wide) {
  const auto tiles = [&](int m, int n) {
    return int64_t{blocks_of(g.rows, m)} * blocks_of(g.group_out, n) * groups_of(g);
  };
  const int64_t row_bytes = depth_of(g) * static_cast<int64_t>(item_bytes(dtype));
  Plan plan = {128, 64, static_cast<int>(blocks_of(row_bytes, kRowBytes)), 1};
  const int64_t processors = multiprocessors(stream.device);
  if (wide && g.group_out > 64 && tiles(128, 128) >= processors) plan.block_n = 128;
  if (tiles(plan.block_m, plan.block_n) < processors) plan.block_m = 64;
  plan.splits =
      splits_for(stream, tiles(plan.block_m, plan.block_n), 1, plan.stages, kStagesPerSplit, kMostSplits);
  return plan;
}

// Of the workspace.
inline size_t partial_bytes(const Plan& plan, const ConvGeometry& g) {
  if (plan.splits == 1) return 0;
  Workspace space;
  space.take<float>(plan.splits * g.rows * g.out_channels);
  return space.bytes();
}

// Whether rows of inputs and weights can be read in packs of 16 bytes.
inline bool packs(const ConvGeometry& g, DType dtype, const void* input, const void* weight) {
  bool fit = false;
  with_float(dtype, [&](auto zero) { fit = in_packs<decltype(zero)>(g.group_in, input, weight); });
  return fit;
}

template <class Consumer, class Source>
void start(const char* op, const Stream& stream, const Plan& plan, bool packed, Conv<Source> job) {
  const unsigned rows = blocks_of(job.g.rows, Consumer::BLOCK_M);
  job.column_blocks = static_cast<int>(blocks_of(job.g.group_out, Consumer::BLOCK_N));
  const dim3 grid(rows * static_cast<unsigned>(job.column_blocks), static_cast<unsigned>(plan.splits),
                  static_cast<unsigned>(groups_of(job.g)));
  const LaunchShape shape = {grid, kGemmThreads, kGemmSharedBytes<Consumer>};
  launch(op, stream, shape, packed ? conv_gemm<Consumer, Source, true> : conv_gemm<Consumer, Source, false>,
         job);
}

// With tiles of 64 columns, which is what every source has kernels for.
template <class Source>
void start_narrow(const char* op, const Stream& stream, const Plan& plan, bool packed,
                  const Conv<Source>& job) {
  using T = typename Source::Item;
  if constexpr (sizeof(T) == 2) {
    if (plan.block_m == 128) return start<MmaConsumer<T, 128, 64>>(op, stream, plan, packed, job);
    start<MmaConsumer<T, 64, 64>>(op, stream, plan, packed, job);
  } else {
    if (plan.block_m == 128) return start<FmaConsumer<128, 64>>(op, stream, plan, packed, job);
    start<FmaConsumer<64, 64>>(op, stream, plan, packed, job);
  }
}

// The products of all of K, split as planned, and what is done with their sums. multiply(job) starts the
// kernel.
template <class Source, class T, class Multiply>
void run_gemm(const char* op, const Stream& stream, const ConvGeometry& g, const Plan& plan,
              const Source& source, const T* weight, const Epilogue<T>& epilogue, void* workspace,
              Multiply multiply) {
  Conv<Source> job = {};
  job.g = g;
  job.source = source;
  job.weight = weight;
  job.epilogue = epilogue;
  job.depth = depth_of(g);
  job.packed_outputs = in_packs<T>(g.group_out, epilogue.output, epilogue.bias, epilogue.residual);
  job.stages = plan.stages;
  job.stages_per_split = static_cast<int>(blocks_of(plan.stages, plan.splits));
  const int64_t count = g.rows * g.out_channels;
  if (plan.splits > 1) job.partial = Workspace(workspace).take<float>(plan.splits * count);

  multiply(job);
  if (plan.splits > 1)
    launch(op, stream, {blocks_of(count, kFinishThreads), kFinishThreads}, finish_splits<Source>, job,
           plan.splits);
}

template <class T>
Epilogue<T> epilogue_of(const ConvProblem& p) {
  return {static_cast<const T*>(p.bias), static_cast<const T*>(p.residual), static_cast<T*>(p.output),
          p.params.activation};
}

}  // namespace pyvision::cuda

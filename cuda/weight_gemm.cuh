// SPDX-License-Identifier: Apache-2.0
// The gradient of a convolution's weight as a tile GEMM:
//
//   D[m][n] = sum_k A[k][m] B[k][n],  m: output channels of a group, n: taps x channels, k: output pixels
//
// Both factors have K in rows, for channels are what lies side by side in memory. A stage holds as much of K
// as one of gemm.cuh: kDepth rows of BLOCK items. Tensor cores read it through ldmatrix, which transposes.
#pragma once

#include "conv_gemm.cuh"

namespace pyvision::cuda {

// A chunk of 16 bytes in row k, in bytes from the tile's start. The eight rows that an ldmatrix reads at one
// column lie in different banks.
template <class T, int kBlock>
__device__ __forceinline__ int swizzled_row(int k, int chunk) {
  static_assert(kBlock * sizeof(T) % 128 == 0, "a row is a multiple of all banks");
  return k * kBlock * static_cast<int>(sizeof(T)) + ((chunk ^ (k & 7)) << 4);
}

// Tensor cores, T: __half or __nv_bfloat16.
template <class T, int kBlockM, int kBlockN>
struct TransposedMmaConsumer : MmaConsumer<T, kBlockM, kBlockN> {
  using Base = MmaConsumer<T, kBlockM, kBlockN>;

  __device__ __forceinline__ void multiply(const unsigned char* smem_a, const unsigned char* smem_b) {
    constexpr int TILES_M = Base::TILES_M, TILES_N = Base::TILES_N;
    const int lane_idx = static_cast<int>(threadIdx.x) % 32, warp_idx = static_cast<int>(threadIdx.x) / 32;
    const int k_a = lane_idx / 16 * 8 + lane_idx % 8, k_b = lane_idx % 16;
    const int chunk_a = warp_idx % 2 * Base::WARP_M / 8 + lane_idx / 8 % 2;
    const int chunk_b = warp_idx / 2 * Base::WARP_N / 8 + lane_idx / 16;
#pragma unroll
    for (int step = 0; step < kRowBytes / static_cast<int>(sizeof(T)); step += 16) {
      uint32_t a[TILES_M][4], b[TILES_N / 2][4];
#pragma unroll
      for (int i = 0; i < TILES_M; ++i)
        ldmatrix_x4_transposed(a[i], smem_a + swizzled_row<T, kBlockM>(step + k_a, chunk_a + 2 * i));
#pragma unroll
      for (int j = 0; j < TILES_N / 2; ++j)
        ldmatrix_x4_transposed(b[j], smem_b + swizzled_row<T, kBlockN>(step + k_b, chunk_b + 2 * j));
#pragma unroll
      for (int i = 0; i < TILES_M; ++i)
#pragma unroll
        for (int j = 0; j < TILES_N; ++j)
          mma<T>(this->sum[i][j], a[i], {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]});
    }
  }
};

// Exact f32: 16 x 8 threads, each with neighbouring rows and two runs of four columns.
template <int kBlockM, int kBlockN>
struct TransposedFmaConsumer {
  static constexpr int BLOCK_M = kBlockM, BLOCK_N = kBlockN;
  static_assert(BLOCK_M == 64 && BLOCK_N == 64, "4 x 8 sums a thread");

  float sum[4][8] = {};

  __device__ __forceinline__ int row() const { return static_cast<int>(threadIdx.x) / 8 * 4; }
  __device__ __forceinline__ int column() const { return static_cast<int>(threadIdx.x) % 8 * 4; }

  __device__ __forceinline__ void multiply(const unsigned char* smem_a, const unsigned char* smem_b) {
    for (int k = 0; k < kRowBytes / 4; ++k) {
      const auto at_b = [&](int half) {
        return *reinterpret_cast<const float4*>(smem_b +
                                                swizzled_row<float, BLOCK_N>(k, column() / 4 + 8 * half));
      };
      const float4 rows =
          *reinterpret_cast<const float4*>(smem_a + swizzled_row<float, BLOCK_M>(k, row() / 4));
      const float4 low = at_b(0), high = at_b(1);
      const float a[4] = {rows.x, rows.y, rows.z, rows.w};
      const float b[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
    }
  }

  template <class Visit>
  __device__ __forceinline__ void for_each_pair(Visit visit) const {
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 8; j += 2)
        visit(row() + i, column() + j / 4 * 32 + j % 4, sum[i][j], sum[i][j + 1]);
  }
};

// What both producers of rows share: a thread fills the chunks of one column of its tile.
template <class T, int kBlock>
struct RowPlaces {
  static constexpr int kDepth = kRowBytes / static_cast<int>(sizeof(T));
  static constexpr int kColumnChunks = kBlock / kPack<T>;
  static constexpr int kApart = kGemmThreads / kColumnChunks;  // rows between two that a thread fills
  static constexpr int kRows = kDepth / kApart;

  __device__ __forceinline__ static int chunk() { return static_cast<int>(threadIdx.x) % kColumnChunks; }
  __device__ __forceinline__ static int row() { return static_cast<int>(threadIdx.x) / kColumnChunks; }
  __device__ __forceinline__ static unsigned char* at(unsigned char* tile, int i) {
    return tile + swizzled_row<T, kBlock>(row() + i * kApart, chunk());
  }
};

// One chunk: from item(j) for each of its items, null for 0.
template <class T, class Item>
__device__ __forceinline__ void store_items(unsigned char* to, Item item) {
  T items[kPack<T>];
  for (int j = 0; j < kPack<T>; ++j) {
    const T* const from = item(j);
    items[j] = from != nullptr ? *from : from_float<T>(0.0f);
  }
  uint4 raw;
  memcpy(&raw, items, sizeof raw);
  *reinterpret_cast<uint4*>(to) = raw;
}

// The output's gradient: channels of a group at one pixel after the other. With kPacked channels come in
// whole packs and are copied behind the thread's back; else item by item.
template <class T, int kBlock, bool kPacked>
class GradientProducer {
 public:
  __device__ __forceinline__ GradientProducer(const ConvGeometry& g, const T* grad, int group,
                                              int first_channel, int first_stage)
      : g_(g),
        channel_(first_channel + Places::chunk() * kPack<T>),
        pixel_(int64_t{first_stage} * Places::kDepth + Places::row()),
        grad_(grad + group * g.group_out + channel_) {}

  __device__ __forceinline__ void fill(unsigned char* tile) {
#pragma unroll
    for (int i = 0; i < Places::kRows; ++i) {
      const int64_t pixel = pixel_ + i * Places::kApart;
      const T* const from = grad_ + pixel * g_.out_channels;
      if constexpr (kPacked) {
        const bool inside = pixel < g_.rows && channel_ < g_.group_out;
        cp_async16(Places::at(tile, i), inside ? from : grad_ - channel_, inside ? 16 : 0);
      } else {
        store_items<T>(Places::at(tile, i), [&](int j) {
          return pixel < g_.rows && channel_ + j < g_.group_out ? from + j : nullptr;
        });
      }
    }
    pixel_ += Places::kDepth;
  }

 private:
  using Places = RowPlaces<T, kBlock>;
  const ConvGeometry& g_;
  int channel_;
  int64_t pixel_;
  const T* grad_;
};

// The inputs that a pixel sees through a run of (taps, channels).
template <class T, int kBlock, bool kPacked>
class WindowProducer {
 public:
  __device__ __forceinline__ WindowProducer(const ConvGeometry& g, const T* input, int group,
                                            int64_t first_column, int first_stage)
      : g_(g), input_(input + group * g.group_in), tap_(g, first_column + Places::chunk() * kPack<T>) {
#pragma unroll
    for (int i = 0; i < Places::kRows; ++i) {
      const int64_t pixel = int64_t{first_stage} * Places::kDepth + Places::row() + i * Places::kApart;
      column_[i] = static_cast<int>(pixel % g.out_w);
      line_[i] = static_cast<int>(pixel / g.out_w % g.out_h);
      image_[i] = pixel / g.out_w / g.out_h;
    }
    images_ = g.rows / g.out_w / g.out_h;
  }

  __device__ __forceinline__ void fill(unsigned char* tile) {
#pragma unroll
    for (int i = 0; i < Places::kRows; ++i) {
      if constexpr (kPacked) {
        const T* const from = at(i, tap_);
        cp_async16(Places::at(tile, i), from != nullptr ? from : input_, from != nullptr ? 16 : 0);
      } else {
        Tap tap = tap_;
        store_items<T>(Places::at(tile, i), [&](int) {
          const T* const from = at(i, tap);
          tap.advance(g_, 1);
          return from;
        });
      }
      column_[i] += Places::kDepth;
      while (column_[i] >= g_.out_w) {
        column_[i] -= g_.out_w;
        if (++line_[i] == g_.out_h) {
          line_[i] = 0;
          ++image_[i];
        }
      }
    }
  }

 private:
  using Places = RowPlaces<T, kBlock>;

  __device__ __forceinline__ const T* at(int i, const Tap& tap) const {
    const int ih = line_[i] * g_.stride_h - g_.pad_top + tap.kh * g_.dilation_h;
    const int iw = column_[i] * g_.stride_w - g_.pad_left + tap.kw * g_.dilation_w;
    const bool inside =
        tap.kh < g_.kernel_h && image_[i] < images_ && ih >= 0 && ih < g_.h && iw >= 0 && iw < g_.w;
    return inside ? input_ + ((image_[i] * g_.h + ih) * g_.w + iw) * g_.in_channels + tap.channel : nullptr;
  }

  const ConvGeometry& g_;
  const T* input_;
  const Tap tap_;
  int column_[Places::kRows], line_[Places::kRows];
  int64_t image_[Places::kRows], images_;
};

template <class T>
struct WeightGradient {
  ConvGeometry g;
  const T* input;
  const T* grad;
  float* partial;  // (splits, out_channels, depth)
  int64_t depth;   // taps * group_in
  int stages, stages_per_split, column_blocks;
};

// blockIdx.x: row and column blocks; blockIdx.y: the split of the pixels; blockIdx.z: the group
template <class Consumer, class T, bool kPacked>
__global__ void __launch_bounds__(kGemmThreads, 2) weight_gemm(WeightGradient<T> job) {
  const ConvGeometry& g = job.g;
  const int first_row = static_cast<int>(blockIdx.x / job.column_blocks) * Consumer::BLOCK_M;
  const int64_t first_column = int64_t{blockIdx.x % job.column_blocks} * Consumer::BLOCK_N;
  const int split = static_cast<int>(blockIdx.y), group = static_cast<int>(blockIdx.z);
  const int begin = split * job.stages_per_split, end = min(job.stages, begin + job.stages_per_split);

  GradientProducer<T, Consumer::BLOCK_M, kPacked> grads(g, job.grad, group, first_row, begin);
  WindowProducer<T, Consumer::BLOCK_N, kPacked> windows(g, job.input, group, first_column, begin);
  Consumer consumer;
  multiply_tile(grads, windows, end - begin, dynamic_shared<unsigned char>(), consumer);

  float* const partial = job.partial + (int64_t{split} * g.out_channels + group * g.group_out) * job.depth;
  consumer.for_each_pair([&](int row, int column, float first, float second) {
    const int m = first_row + row;
    const int64_t n = first_column + column;
    if (m >= g.group_out || n >= job.depth) return;
    partial[m * job.depth + n] = first;
    if (n + 1 < job.depth) partial[m * job.depth + n + 1] = second;
  });
}

}  // namespace pyvision::cuda

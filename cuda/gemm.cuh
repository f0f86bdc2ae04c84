// SPDX-License-Identifier: Apache-2.0
// The tile GEMM of all convolutions: producer -> shared memory -> products -> epilogue.
//
//   D[m][n] = sum_k A[m][k] B[n][k],  m: output pixels, n: output channels of a group, k: taps x channels
//
// A stage holds 64 bytes of K of BLOCK_M rows of A and BLOCK_N rows of B. kNumStages of them are in flight:
// while one is multiplied the producer fills those behind it. A row's four chunks of 16 bytes are permuted by
// its number, so that the eight rows an ldmatrix reads lie in different banks:
//
//   row    0  1  2  3  4  5  6  7  8 …
//   chunk  0  0  1  1  2  2  3  3  0 …   is where its first chunk lies
#pragma once

#include "common/launch.cuh"
#include "common/numbers.cuh"
#include "common/ptx.cuh"

namespace pyvision::cuda {

constexpr int kRowBytes = 64;  // of K in a stage: two steps of mma, and 4 stages of 128 + 128 rows in 64 KB
constexpr int kChunks = kRowBytes / 16;
constexpr int kNumStages = 4;
constexpr int kGemmThreads = 128;

__device__ __forceinline__ int swizzled(int row, int chunk) {  // in bytes from the tile's start
  return row * kRowBytes + ((chunk ^ (row >> 1 & (kChunks - 1))) << 4);
}

// Tensor cores. T: __half, __nv_bfloat16 or Tf32. Four warps, 2 x 2 over the tile.
template <class T, int kBlockM, int kBlockN>
struct MmaConsumer {
  static constexpr int BLOCK_M = kBlockM, BLOCK_N = kBlockN;
  static constexpr int WARP_M = BLOCK_M / 2, WARP_N = BLOCK_N / 2;
  static constexpr int TILES_M = WARP_M / 16, TILES_N = WARP_N / 8;
  static_assert(WARP_M % 16 == 0 && WARP_N % 16 == 0, "B fragments are loaded two at a time");

  float sum[TILES_M][TILES_N][4] = {};

  __device__ __forceinline__ void multiply(const unsigned char* smem_a, const unsigned char* smem_b) {
    const int lane_idx = static_cast<int>(threadIdx.x) % 32, warp_idx = static_cast<int>(threadIdx.x) / 32;
    const int row_a = warp_idx % 2 * WARP_M + lane_idx % 16, chunk_a = lane_idx / 16;
    const int row_b = warp_idx / 2 * WARP_N + lane_idx / 16 * 8 + lane_idx % 8, chunk_b = lane_idx / 8 % 2;
#pragma unroll
    for (int step = 0; step < kChunks; step += 2) {
      uint32_t a[TILES_M][4], b[TILES_N / 2][4];
#pragma unroll
      for (int i = 0; i < TILES_M; ++i) ldmatrix_x4(a[i], smem_a + swizzled(row_a + 16 * i, step + chunk_a));
#pragma unroll
      for (int j = 0; j < TILES_N / 2; ++j)
        ldmatrix_x4(b[j], smem_b + swizzled(row_b + 16 * j, step + chunk_b));
#pragma unroll
      for (int i = 0; i < TILES_M; ++i)
#pragma unroll
        for (int j = 0; j < TILES_N; ++j)
          mma<T>(sum[i][j], a[i], {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]});
    }
  }

  // visit(row, column, values): pairs of neighbouring columns, from an even one
  template <class Visit>
  __device__ __forceinline__ void for_each_pair(Visit visit) const {
    const int lane_idx = static_cast<int>(threadIdx.x) % 32, warp_idx = static_cast<int>(threadIdx.x) / 32;
    const int row = warp_idx % 2 * WARP_M + lane_idx / 4, column = warp_idx / 2 * WARP_N + lane_idx % 4 * 2;
#pragma unroll
    for (int i = 0; i < TILES_M; ++i)
#pragma unroll
      for (int j = 0; j < TILES_N; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          visit(row + 16 * i + 8 * half, column + 8 * j, sum[i][j][2 * half], sum[i][j][2 * half + 1]);
  }
};

// Exact f32: 16 x 8 threads.
template <int kBlockM, int kBlockN>
struct FmaConsumer {
  static constexpr int BLOCK_M = kBlockM, BLOCK_N = kBlockN;
  static constexpr int ROWS = BLOCK_M / 16, COLUMNS = BLOCK_N / 8;
  static_assert(COLUMNS % 2 == 0, "columns are stored in pairs");

  float sum[ROWS][COLUMNS] = {};

  __device__ __forceinline__ int row_of(int i) const { return static_cast<int>(threadIdx.x) / 8 + 16 * i; }
  __device__ __forceinline__ int column_of(int j) const {  // pairs of neighbours, 16 apart
    return static_cast<int>(threadIdx.x) % 8 * 2 + j / 2 * 16 + j % 2;
  }

  __device__ __forceinline__ void multiply(const unsigned char* smem_a, const unsigned char* smem_b) {
#pragma unroll 1  // unrolled, the next chunk's values would take all registers there are
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      float4 a[ROWS];
#pragma unroll
      for (int i = 0; i < ROWS; ++i)
        a[i] = *reinterpret_cast<const float4*>(smem_a + swizzled(row_of(i), chunk));
#pragma unroll
      for (int j = 0; j < COLUMNS; ++j) {
        const float4 b = *reinterpret_cast<const float4*>(smem_b + swizzled(column_of(j), chunk));
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
          sum[i][j] = fmaf(a[i].x, b.x, sum[i][j]);
          sum[i][j] = fmaf(a[i].y, b.y, sum[i][j]);
          sum[i][j] = fmaf(a[i].z, b.z, sum[i][j]);
          sum[i][j] = fmaf(a[i].w, b.w, sum[i][j]);
        }
      }
    }
  }

  template <class Visit>
  __device__ __forceinline__ void for_each_pair(Visit visit) const {
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
#pragma unroll
      for (int j = 0; j < COLUMNS; j += 2) visit(row_of(i), column_of(j), sum[i][j], sum[i][j + 1]);
  }
};

// Consumer::BLOCK_M rows from `first_row`, stages [begin, end) of K. The producers:
//   void fill(unsigned char* tile)   writes the next stage of its BLOCK rows, or queues that with cp.async
// Producers skip to `begin` themselves.
template <class Consumer, class ProducerA, class ProducerB>
__device__ __forceinline__ void multiply_tile(ProducerA& a, ProducerB& b, int stages, unsigned char* smem,
                                              Consumer& consumer) {
  constexpr int kBytesA = Consumer::BLOCK_M * kRowBytes,
                kBytesStage = kBytesA + Consumer::BLOCK_N * kRowBytes;
  const auto fill = [&](int stage) {
    if (stage < stages) {
      unsigned char* const tile = smem + stage % kNumStages * kBytesStage;
      a.fill(tile);
      b.fill(tile + kBytesA);
    }
    cp_async_commit();  // an empty group too, so that the number of groups in flight says which have landed
  };
  for (int stage = 0; stage < kNumStages - 1; ++stage) fill(stage);
  for (int stage = 0; stage < stages; ++stage) {
    cp_async_wait<kNumStages - 2>();
    __syncthreads();  // the stage is there for all; and all are done with the one before, which is filled
                      // next
    fill(stage + kNumStages - 1);
    const unsigned char* const tile = smem + stage % kNumStages * kBytesStage;
    consumer.multiply(tile, tile + kBytesA);
  }
}

template <class Consumer>
constexpr size_t kGemmSharedBytes = size_t{kNumStages} * (Consumer::BLOCK_M + Consumer::BLOCK_N) * kRowBytes;

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
#include "layout.cuh"

#include "common/launch.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kTile = 32;  // a warp reads and writes whole lines
constexpr int kRows = 8;   // threads walk a tile in steps of this many rows

// Block: one tile of one batch, columns running fastest. tiles = batch * tile_rows * tile_columns
template <class T>
__global__ void transpose_kernel(const T* x, int64_t rows, int64_t columns, int64_t tile_rows,
                                 int64_t tile_columns, T* y) {
  __shared__ T tile[kTile][kTile + 1];  // a column of it lies in 32 different banks
  const int64_t index = blockIdx.x;
  const int64_t column = index % tile_columns * kTile;           // [0, columns)
  const int64_t row = index / tile_columns % tile_rows * kTile;  // [0, rows)
  const int64_t base = index / tile_columns / tile_rows * rows * columns;
  const int tx = static_cast<int>(threadIdx.x), ty = static_cast<int>(threadIdx.y);
  for (int i = ty; i < kTile; i += kRows)
    if (row + i < rows && column + tx < columns) tile[i][tx] = x[base + (row + i) * columns + column + tx];
  __syncthreads();
  for (int i = ty; i < kTile; i += kRows)
    if (column + i < columns && row + tx < rows) y[base + (column + i) * rows + row + tx] = tile[tx][i];
}

}  // namespace

void transpose(const char* op, const Stream& stream, const void* x, int64_t batch, int64_t rows,
               int64_t columns, size_t item_bytes, void* y) {
  const int64_t tile_rows = blocks_of(rows, kTile), tile_columns = blocks_of(columns, kTile);
  const LaunchShape shape = {blocks_of(batch * tile_rows * tile_columns, 1), {kTile, kRows}};
  const auto run = [&](auto item) {
    using T = decltype(item);
    launch(op, stream, shape, transpose_kernel<T>, static_cast<const T*>(x), rows, columns, tile_rows,
           tile_columns, static_cast<T*>(y));
  };
  if (item_bytes == 1) return run(uint8_t{});
  if (item_bytes == 2) return run(uint16_t{});
  if (item_bytes == 4) return run(uint32_t{});
  run(uint64_t{});
}

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
#include "features/grey.cuh"

#include "common/launch.cuh"
#include "features/pixels.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kGreyThreads = 256;

__device__ int byte_of(uint8_t x) { return x; }
__device__ int byte_of(float x) { return static_cast<int>(fminf(fmaxf(rintf(x), 0.0f), 255.0f)); }

template <class T>
__global__ void __launch_bounds__(kGreyThreads)
    to_grey_kernel(const T* pixels, int channels, int64_t n, uint8_t* y) {
  const int64_t i = int64_t{blockIdx.x} * kGreyThreads + threadIdx.x;
  if (i >= n) return;
  const T* const p = pixels + i * channels;
  const int grey =
      channels == 1 ? byte_of(p[0])
                    : (9798 * byte_of(p[0]) + 19235 * byte_of(p[1]) + 3735 * byte_of(p[2]) + (1 << 14)) >> 15;
  y[i] = static_cast<uint8_t>(grey);
}

__global__ void __launch_bounds__(kGreyThreads)
    to_float_grey_kernel(const float* pixels, int channels, int64_t n, float* y) {
  const int64_t i = int64_t{blockIdx.x} * kGreyThreads + threadIdx.x;
  if (i >= n) return;
  const auto clipped = [](float x) { return x == x ? fminf(fmaxf(x, -1e4f), 1e4f) : 0.0f; };
  const float* const p = pixels + i * channels;
  y[i] = channels == 1 ? clipped(p[0])
                       : clipped(p[0]) * 0.299f + clipped(p[1]) * 0.587f + clipped(p[2]) * 0.114f;
}

struct Position {
  int first, second;
  int weight;  // of the second, in 256ths
};

__device__ __forceinline__ Position position_of(int i, double scale, int extent) {
  const double position = (i + 0.5) * scale - 0.5;
  if (position < 0) return {0, min(1, extent - 1), 0};
  const int first = static_cast<int>(position);
  if (first >= extent - 1) return {extent - 1, extent - 1, 0};
  return {first, first + 1, static_cast<int>(rint((position - first) * 256))};
}

constexpr int kResizeColumns = 64, kResizeRows = 16;  // a block's; positions take doubles, so once for each

__global__ void __launch_bounds__(kGreyThreads) resize_grey_kernel(Level x, Level y) {
  __shared__ Position columns[kResizeColumns], rows[kResizeRows];
  const int left = static_cast<int>(blockIdx.x) * kResizeColumns,
            top = static_cast<int>(blockIdx.y) * kResizeRows, thread = static_cast<int>(threadIdx.x);
  if (thread < kResizeColumns) {
    columns[thread] = position_of(left + thread, static_cast<double>(x.w) / y.w, x.w);
  } else if (thread < kResizeColumns + kResizeRows) {
    const int row = thread - kResizeColumns;
    rows[row] = position_of(top + row, static_cast<double>(x.h) / y.h, x.h);
  }
  __syncthreads();
  const int column = thread % kResizeColumns;
  if (left + column >= y.w) return;
  const Position across = columns[column];
  for (int row = thread / kResizeColumns; row < kResizeRows && top + row < y.h;
       row += kGreyThreads / kResizeColumns) {
    const Position down = rows[row];
    const uint8_t *upper = x.data + int64_t{down.first} * x.w, *lower = x.data + int64_t{down.second} * x.w;
    const auto blend = [&](int at) { return upper[at] * (256 - down.weight) + lower[at] * down.weight; };
    const int sum = blend(across.first) * (256 - across.weight) + blend(across.second) * across.weight;
    y.data[int64_t{top + row} * y.w + left + column] = static_cast<uint8_t>((sum + (1 << 15)) >> 16);
  }
}

constexpr int kBlurTile = 32, kBlurHalo = 3, kBlurWide = kBlurTile + 2 * kBlurHalo;

// exp(-x^2 / 8) in 256ths, as on the CPU.
template <class At>
__device__ int blurred(At at) {
  return 18 * (at(0) + at(6)) + 34 * (at(1) + at(5)) + 48 * (at(2) + at(4)) + 56 * at(3);
}

__global__ void __launch_bounds__(kGreyThreads)
    blur_grey_kernel(const __grid_constant__ Levels from, const __grid_constant__ Levels to) {
  __shared__ uint8_t pixels[kBlurWide][kBlurWide + 2];
  __shared__ uint16_t sums[kBlurTile][kBlurWide + 2];  // along columns; at most 255 * 256
  const Level& x = from.of[blockIdx.z];
  const int left = static_cast<int>(blockIdx.x) * kBlurTile, top = static_cast<int>(blockIdx.y) * kBlurTile,
            thread = static_cast<int>(threadIdx.x);
  if (left >= x.w || top >= x.h) return;
  for (int i = thread; i < kBlurWide * kBlurWide; i += kGreyThreads) {
    const int row = i / kBlurWide, column = i % kBlurWide;
    const int64_t line = mirrored_index(top + row - kBlurHalo, x.h);
    pixels[row][column] = x.data[line * x.w + mirrored_index(left + column - kBlurHalo, x.w)];
  }
  __syncthreads();
  for (int i = thread; i < kBlurTile * kBlurWide; i += kGreyThreads) {
    const int row = i / kBlurWide, column = i % kBlurWide;
    sums[row][column] = static_cast<uint16_t>(blurred([&](int k) { return pixels[row + k][column]; }));
  }
  __syncthreads();
  uint8_t* const y = to.of[blockIdx.z].data;
  for (int i = thread; i < kBlurTile * kBlurTile; i += kGreyThreads) {
    const int row = i / kBlurTile, column = i % kBlurTile;
    if (top + row >= x.h || left + column >= x.w) continue;
    const int sum = blurred([&](int k) { return sums[row][column + k]; });
    y[int64_t{top + row} * x.w + left + column] = static_cast<uint8_t>((sum + (1 << 15)) >> 16);
  }
}

}  // namespace

void to_grey(const char* op, const Stream& stream, const ColorPicture& picture, uint8_t* y) {
  const int64_t n = picture.h * picture.w;
  const LaunchShape shape = {blocks_of(n, kGreyThreads), kGreyThreads};
  if (picture.floats)
    launch(op, stream, shape, to_grey_kernel<float>, static_cast<const float*>(picture.data),
           picture.channels, n, y);
  else
    launch(op, stream, shape, to_grey_kernel<uint8_t>, static_cast<const uint8_t*>(picture.data),
           picture.channels, n, y);
}

void to_float_grey(const char* op, const Stream& stream, const ColorPicture& picture, float* y) {
  const int64_t n = picture.h * picture.w;
  launch(op, stream, {blocks_of(n, kGreyThreads), kGreyThreads}, to_float_grey_kernel,
         static_cast<const float*>(picture.data), picture.channels, n, y);
}

void resize_grey(const char* op, const Stream& stream, const Level& x, const Level& y) {
  launch(op, stream, {{blocks_of(y.w, kResizeColumns), blocks_of(y.h, kResizeRows)}, kGreyThreads},
         resize_grey_kernel, x, y);
}

void blur_grey(const char* op, const Stream& stream, const Levels& x, const Levels& y) {
  const auto tiles = [](int64_t extent) { return blocks_of(extent, kBlurTile); };
  const dim3 grid(tiles(most_of(x, [](const Level& l) { return l.w; })),
                  tiles(most_of(x, [](const Level& l) { return l.h; })), static_cast<unsigned>(x.count));
  launch(op, stream, {grid, kGreyThreads}, blur_grey_kernel, x, y);
}

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
// Images of growing blur, octave by octave.
#include <algorithm>

#include "common/launch.cuh"
#include "common/workspace.h"
#include "features/pixels.cuh"
#include "features/sift.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kBlurThreads = 256;
constexpr int kTileColumns = 128, kTileRows = 16;
constexpr int kAtOnce =
    4;  // rows that a thread sums at once: it loads two values for each further tap of all four

struct Taps {
  float of[kMaxBlurRadius + 1];
  int radius;

  explicit Taps(double sigma) {
    const SiftTaps taps(sigma);
    radius = static_cast<int>(taps.radius);
    std::copy_n(taps.values, taps.radius + 1, of);
  }
};

// Sources of pixels: an image, or a picture at twice its size, of which outputs lie a quarter beside each
// pixel.
struct Image {
  const float* data;
  int h, w;
  __device__ float at(int y, int x) const { return data[int64_t{y} * w + x]; }
};
template <class T>
struct Enlarged {
  const T* data;  // (h / 2, w / 2)
  int h, w;       // of the enlarged one

  __device__ float at(int y, int x) const {
    const int rows = h / 2, columns = w / 2;
    const auto beside = [](int i, int extent) {
      return min(max(i % 2 == 0 ? i / 2 - 1 : i / 2 + 1, 0), extent - 1);
    };
    const T *near = data + int64_t{y / 2} * columns, *far = data + int64_t{beside(y, rows)} * columns;
    const auto sum = [=](int column) {
      return 0.75f * static_cast<float>(near[column]) + 0.25f * static_cast<float>(far[column]);
    };
    return 0.75f * sum(x / 2) + 0.25f * sum(beside(x, columns));
  }
};

// A tile: sums down its columns and those beside it, in shared memory; then along its rows. Taps from the
// middle outwards, as on the CPU.
template <class Source>
__global__ void __launch_bounds__(kBlurThreads)
    blur_kernel(Source x, const __grid_constant__ Taps taps, float* y) {
  __shared__ float sums[kTileRows][kTileColumns + 2 * kMaxBlurRadius];
  const int left = static_cast<int>(blockIdx.x) * kTileColumns,
            top = static_cast<int>(blockIdx.y) * kTileRows, thread = static_cast<int>(threadIdx.x);
  const int r = taps.radius, wide = kTileColumns + 2 * r;
  for (int i = thread; i < kTileRows / kAtOnce * wide; i += kBlurThreads) {
    const int column = mirrored_index(left + i % wide - r, x.w), first = i / wide * kAtOnce;
    const auto load = [&](int row) { return x.at(mirrored_index(top + first + row, x.h), column); };
    float above[kAtOnce], below[kAtOnce], sum[kAtOnce];  // rows k - tap, k + tap
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      above[k] = below[k] = load(k);
      sum[k] = taps.of[0] * above[k];
    }
    for (int tap = 1; tap <= r; ++tap) {
#pragma unroll
      for (int k = 0; k + 1 < kAtOnce; ++k) {
        above[kAtOnce - 1 - k] = above[kAtOnce - 2 - k];
        below[k] = below[k + 1];
      }
      above[0] = load(-tap);
      below[kAtOnce - 1] = load(kAtOnce - 1 + tap);
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) sum[k] = fmaf(taps.of[tap], above[k] + below[k], sum[k]);
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) sums[first + k][i % wide] = sum[k];
  }
  __syncthreads();
  for (int i = thread; i < kTileRows * kTileColumns; i += kBlurThreads) {
    const int row = i / kTileColumns, column = i % kTileColumns;
    if (top + row >= x.h || left + column >= x.w) continue;
    const float* const middle = &sums[row][column + r];
    float sum = taps.of[0] * middle[0];
    for (int tap = 1; tap <= r; ++tap) sum = fmaf(taps.of[tap], middle[-tap] + middle[tap], sum);
    y[int64_t{top + row} * x.w + left + column] = sum;
  }
}

// Every second pixel of every second row.
__global__ void __launch_bounds__(kBlurThreads)
    halve_kernel(const float* x, int x_w, int h, int w, float* y) {
  const int64_t i = int64_t{blockIdx.x} * kBlurThreads + threadIdx.x;
  if (i >= int64_t{h} * w) return;
  y[i] = x[i / w * 2 * x_w + i % w * 2];
}

template <class Source>
void blur(const char* op, const Stream& stream, const Source& x, double sigma, float* y) {
  launch(op, stream, {{blocks_of(x.w, kTileColumns), blocks_of(x.h, kTileRows)}, kBlurThreads},
         blur_kernel<Source>, x, Taps(sigma), y);
}

}  // namespace

SiftPyramid sift_pyramid(const SiftProblem& p, void* memory) {
  SiftPyramid pyramid;
  pyramid.count = static_cast<int>(sift_octaves(p.h, p.w));
  pyramid.layers = static_cast<int>(p.params.layers);
  pyramid.sigma = p.params.sigma;
  auto* next = static_cast<float*>(memory);
  int64_t h = 2 * p.h, w = 2 * p.w;
  for (int o = 0; o < pyramid.count; ++o, h /= 2, w /= 2) {
    pyramid.of[o] = {next, static_cast<int32_t>(h), static_cast<int32_t>(w)};
    if (next != nullptr) next += (p.params.layers + 3) * h * w;
  }
  return pyramid;
}

size_t sift_pyramid_bytes(const SiftProblem& p) {
  const SiftPyramid pyramid = sift_pyramid(p, nullptr);
  Workspace workspace;
  int64_t floats = 0;
  for (int o = 0; o < pyramid.count; ++o)
    floats += int64_t{pyramid.layers + 3} * pyramid.of[o].h * pyramid.of[o].w;
  workspace.take<float>(floats);
  return workspace.bytes();
}

void fill_sift_pyramid(const char* op, const Stream& stream, const SiftProblem& p,
                       const SiftPyramid& pyramid) {
  for (int o = 0; o < pyramid.count; ++o) {
    const SiftOctave& octave = pyramid.of[o];
    const int64_t size = int64_t{octave.h} * octave.w;
    if (o > 0) {
      const SiftOctave& before = pyramid.of[o - 1];
      launch(op, stream, {blocks_of(size, kBlurThreads), kBlurThreads}, halve_kernel,
             before.data + int64_t{pyramid.layers} * before.h * before.w, before.w, octave.h, octave.w,
             octave.data);
    } else if (p.floats) {
      blur(op, stream, Enlarged<float>{static_cast<const float*>(p.picture), octave.h, octave.w},
           p.params.blur(0), octave.data);
    } else {
      blur(op, stream, Enlarged<uint8_t>{static_cast<const uint8_t*>(p.picture), octave.h, octave.w},
           p.params.blur(0), octave.data);
    }
    for (int64_t i = 1; i < pyramid.layers + 3; ++i)
      blur(op, stream, Image{octave.data + (i - 1) * size, octave.h, octave.w}, p.params.blur(i),
           octave.data + i * size);
  }
}

}  // namespace pyvision::cuda

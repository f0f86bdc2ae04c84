// SPDX-License-Identifier: Apache-2.0
#include "features/integral.cuh"

#include "common/launch.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kIntegralThreads = 256, kWarps = kIntegralThreads / 32;
constexpr int kBandRows = 64;  // columns are summed in so many parts

__device__ uint32_t whole(uint8_t x) { return x; }
__device__ uint32_t whole(float x) {  // in 256ths
  return static_cast<uint32_t>(fminf(fmaxf(x, 0.0f), 255.0f) * 256 + 0.5f);
}

// A warp: a row's running sums. The row above the first, and the column left of the first, are 0.
template <class T>
__global__ void __launch_bounds__(kIntegralThreads) sum_rows(const T* picture, IntegralSums sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t y = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (y > sums.h) return;
  uint32_t* const row = sums.data + y * (sums.w + 1);
  uint32_t before = 0;
  if (lane == 0) row[0] = 0;
  for (int first = 0; first < sums.w; first += 32) {
    const int x = first + lane;
    uint32_t sum = y > 0 && x < sums.w ? whole(picture[(y - 1) * sums.w + x]) : 0;
    for (int delta = 1; delta < 32; delta *= 2) {
      const uint32_t left = __shfl_up_sync(0xffffffffu, sum, delta);
      if (lane >= delta) sum += left;
    }
    if (x < sums.w) row[x + 1] = before + sum;
    before += __shfl_sync(0xffffffffu, sum, 31);
  }
}

// Running sums down the columns of a band of rows, of which the last goes into bands.
__global__ void __launch_bounds__(kIntegralThreads) sum_bands(IntegralSums sums, uint32_t* bands) {
  const int pitch = sums.w + 1, x = static_cast<int>(blockIdx.x * kIntegralThreads + threadIdx.x);
  if (x >= pitch) return;
  const int begin = static_cast<int>(blockIdx.y) * kBandRows, end = min(begin + kBandRows, sums.h);
  uint32_t sum = 0;
  for (int y = begin; y < end; ++y) {
    uint32_t* const place = sums.data + int64_t{y + 1} * pitch + x;
    *place = sum += *place;
  }
  bands[int64_t{blockIdx.y} * pitch + x] = sum;
}

// Adds what the bands above have.
__global__ void __launch_bounds__(kIntegralThreads) join_bands(IntegralSums sums, const uint32_t* bands) {
  const int pitch = sums.w + 1, x = static_cast<int>(blockIdx.x * kIntegralThreads + threadIdx.x);
  if (x >= pitch || blockIdx.y == 0) return;
  uint32_t above = 0;
  for (unsigned band = 0; band < blockIdx.y; ++band) above += bands[int64_t{band} * pitch + x];
  const int begin = static_cast<int>(blockIdx.y) * kBandRows, end = min(begin + kBandRows, sums.h);
  for (int y = begin; y < end; ++y) sums.data[int64_t{y + 1} * pitch + x] += above;
}

}  // namespace

IntegralSpace::IntegralSpace(Workspace* workspace, int32_t h, int32_t w, bool floats) {
  sums.h = h, sums.w = w;
  sums.unit = floats ? 1.0f / 256 : 1.0f;
  sums.data = workspace->take<uint32_t>(sums.size());
  bands = workspace->take<uint32_t>(int64_t{blocks_of(h, kBandRows)} * (w + 1));
}

void integrate(const char* op, const Stream& stream, const void* picture, const IntegralSpace& space) {
  const IntegralSums& sums = space.sums;
  const LaunchShape rows = {blocks_of(int64_t{sums.h} + 1, kWarps), kIntegralThreads};
  if (sums.unit < 1)
    launch(op, stream, rows, sum_rows<float>, static_cast<const float*>(picture), sums);
  else
    launch(op, stream, rows, sum_rows<uint8_t>, static_cast<const uint8_t*>(picture), sums);
  const LaunchShape columns = {
      {blocks_of(int64_t{sums.w} + 1, kIntegralThreads), blocks_of(sums.h, kBandRows)}, kIntegralThreads};
  launch(op, stream, columns, sum_bands, sums, space.bands);
  launch(op, stream, columns, join_bands, sums, space.bands);
}

}  // namespace pyvision::cuda

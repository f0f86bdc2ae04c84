// SPDX-License-Identifier: Apache-2.0
// Angles and descriptors by Haar wavelets.
#include <cmath>

#include "features/direction.cuh"
#include "features/lists.cuh"
#include "features/surf.cuh"

namespace pyvision::cuda {
namespace {

constexpr int kOrientThreads = 128, kWarps = kOrientThreads / 32;
constexpr int kReach = 6, kWide = 2 * kReach + 1,
              kPoints = kWide * kWide;                    // those beyond the circle count for nothing
constexpr int kDirections = 72, kOpen = kDirections / 6;  // a window of 60 degrees
constexpr int kGrid = 24, kCell = 9, kCells = 4, kParts = 8;
constexpr int kDescribeThreads = kCells * kCells * kParts;

// Gaussians by squared distance: of the points in a circle or a cell, and of the cells from the middle.
struct Weights {
  float points[kReach * kReach + 1], cells[3];  // cells: (1/2, 1/2), (1/2, 3/2), (3/2, 3/2) from it

  Weights() {
    const auto gaussian = [](double squared, double sigma) {
      return static_cast<float>(std::exp(-squared / (2 * sigma * sigma)));
    };
    for (int i = 0; i <= kReach * kReach; ++i) points[i] = gaussian(i, 2.5);
    for (int i = 0; i < 3; ++i) cells[i] = gaussian(0.5 + 2 * i, 1.5);
  }
};

// The wavelet (dx, dy) of side 2 half at (x, y); beyond the picture it is what lies inside.
__device__ int2 wavelet(const IntegralSums& sums, float x, float y, float half) {
  const auto limit = [](float value, int extent) {
    return static_cast<int>(fminf(fmaxf(value, 0.0f), static_cast<float>(extent)));
  };
  const float column = floorf(x) + 1, row = floorf(y) + 1;
  const int left = limit(column - half, sums.w), middle = limit(column, sums.w),
            right = limit(column + half, sums.w);
  const auto row_at = [&](float value) { return sums.data + int64_t{limit(value, sums.h)} * (sums.w + 1); };
  const uint32_t *a = row_at(row - half), *b = row_at(row), *c = row_at(row + half);
  const uint32_t across = c[middle] - a[middle], along = b[right] - b[left];
  const uint32_t dx = (c[right] - a[right]) + (c[left] - a[left]) - 2 * across,
                 dy = (c[right] - c[left]) + (a[right] - a[left]) - 2 * along;
  return make_int2(static_cast<int>(dx), static_cast<int>(dy));
}

__device__ double scale_of(float size) { return static_cast<double>(size) * (1.2 / 9); }
__device__ float half_of(double scale, double side) {
  return static_cast<float>(fmax(rint(scale * side), 1.0));
}

// A warp: a keypoint's angle. Each lane adds up directions of its own, so that every sum has one order.
__global__ void __launch_bounds__(kOrientThreads)
    orient_kernel(IntegralSums sums, const __grid_constant__ Weights weights, KeypointColumns keypoints) {
  __shared__ float all_across[kWarps][kPoints], all_down[kWarps][kPoints];
  __shared__ int all_bins[kWarps][kPoints];
  __shared__ float all_x[kWarps][kDirections], all_y[kWarps][kDirections];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t k = int64_t{blockIdx.x} * kWarps + warp;
  if (k >= keypoints.room) return;
  float *across = all_across[warp], *down = all_down[warp], *sum_x = all_x[warp], *sum_y = all_y[warp];
  int* const bins = all_bins[warp];
  const double scale = scale_of(keypoints.size[k]);
  const auto s = static_cast<float>(scale);
  const float half = half_of(scale, 2);
  for (int i = lane; i < kPoints; i += 32) {
    const int u = i % kWide - kReach, v = i / kWide - kReach, squared = u * u + v * v;
    bins[i] = -1;
    across[i] = down[i] = 0;
    if (squared > kReach * kReach) continue;
    const int2 d = wavelet(sums, keypoints.xy[2 * k] + static_cast<float>(u) * s,
                           keypoints.xy[2 * k + 1] + static_cast<float>(v) * s, half);
    across[i] = static_cast<float>(d.x) * weights.points[squared];
    down[i] = static_cast<float>(d.y) * weights.points[squared];
    bins[i] = static_cast<int>(direction(across[i], down[i]) * (kDirections / 360.0f));
  }
  __syncwarp();
  for (int bin = lane; bin < kDirections; bin += 32) {
    float x = 0, y = 0;
    for (int i = 0; i < kPoints; ++i) {
      if (bins[i] != bin) continue;
      x += across[i];
      y += down[i];
    }
    sum_x[bin] = x, sum_y[bin] = y;
  }
  __syncwarp();
  float longest = -1, dx = 0, dy = 0;
  int where = kDirections;
  for (int bin = lane; bin < kDirections; bin += 32) {
    float x = 0, y = 0;
    for (int i = 0; i < kOpen; ++i) {
      x += sum_x[(bin + i) % kDirections];
      y += sum_y[(bin + i) % kDirections];
    }
    const float length = x * x + y * y;
    if (length > longest) longest = length, dx = x, dy = y, where = bin;
  }
  for (int apart = 16; apart > 0; apart /= 2) {  // of equal ones the first
    const float other = __shfl_xor_sync(0xffffffffu, longest, apart),
                x = __shfl_xor_sync(0xffffffffu, dx, apart), y = __shfl_xor_sync(0xffffffffu, dy, apart);
    const int place = __shfl_xor_sync(0xffffffffu, where, apart);
    if (other > longest || (other == longest && place < where))
      longest = other, dx = x, dy = y, where = place;
  }
  if (lane != 0) return;
  const double degrees =
      atan2(static_cast<double>(dy), static_cast<double>(dx)) * (180 / 3.14159265358979323846);
  const auto angle = static_cast<float>(degrees < 0 ? degrees + 360 : degrees);
  keypoints.angle[k] = angle < 360 ? angle : 0;
}

// A block: a keypoint. All its wavelets, turned; then eight threads to a cell.
template <int kValues>
__global__ void __launch_bounds__(kDescribeThreads)
    describe_kernel(IntegralSums sums, const __grid_constant__ Weights weights, GivenKeypoints keypoints,
                    const int64_t* which, const int32_t* count, float* descriptors) {
  __shared__ float across[kGrid * kGrid], down[kGrid * kGrid];
  __shared__ float values[kCells * kCells * kValues];
  __shared__ double warp_sums[kDescribeThreads / 32];
  const int64_t row = blockIdx.x;
  if (row >= *count) return;
  const int thread = static_cast<int>(threadIdx.x), part = thread % kParts, cell = thread / kParts;
  const int64_t k = which == nullptr ? row : which[row];
  const double scale = scale_of(keypoints.size[k]);
  const double angle = keypoints.angle[k] > 0 ? static_cast<double>(keypoints.angle[k]) : 0;
  const double radians = angle * (3.14159265358979323846 / 180);
  const auto c = static_cast<float>(cos(radians)), s = static_cast<float>(sin(radians)),
             unit = static_cast<float>(scale);
  const float half = half_of(scale, 1), x = keypoints.xy[2 * k], y = keypoints.xy[2 * k + 1];
  constexpr float kMiddle = (kGrid - 1) / 2.0f;
  for (int i = thread; i < kGrid * kGrid; i += kDescribeThreads) {
    const float u = (static_cast<float>(i % kGrid) - kMiddle) * unit,
                v = (static_cast<float>(i / kGrid) - kMiddle) * unit;
    const int2 d = wavelet(sums, x + (u * c - v * s), y + (u * s + v * c), half);
    const auto a = static_cast<float>(d.x), b = static_cast<float>(d.y);
    across[i] = a * c + b * s;
    down[i] = b * c - a * s;
  }
  __syncthreads();
  const int top = cell / kCells, left = cell % kCells;
  float cell_sums[kValues] = {};
  for (int i = part; i < kCell * kCell; i += kParts) {
    const int v = i / kCell, u = i % kCell, at = (5 * top + v) * kGrid + 5 * left + u;
    const float weight = weights.points[(u - 4) * (u - 4) + (v - 4) * (v - 4)];
    const float dx = across[at] * weight, dy = down[at] * weight;
    if constexpr (kValues == 4) {
      cell_sums[0] += dx, cell_sums[1] += dy, cell_sums[2] += fabsf(dx), cell_sums[3] += fabsf(dy);
    } else {
      const bool up = dy < 0, back = dx < 0;
      cell_sums[0] += up ? 0 : dx, cell_sums[1] += up ? 0 : fabsf(dx);
      cell_sums[2] += up ? dx : 0, cell_sums[3] += up ? fabsf(dx) : 0;
      cell_sums[4] += back ? 0 : dy, cell_sums[5] += back ? 0 : fabsf(dy);
      cell_sums[6] += back ? dy : 0, cell_sums[7] += back ? fabsf(dy) : 0;
    }
  }
  const bool outer_row = top == 0 || top == kCells - 1, outer_column = left == 0 || left == kCells - 1;
  const float weight = weights.cells[outer_row + outer_column];
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    float sum = cell_sums[i];
    for (int apart = kParts / 2; apart > 0; apart /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    if (part == i) values[cell * kValues + i] = weight * sum;
  }
  __syncthreads();
  constexpr int kLength = kCells * kCells * kValues;
  const float value = thread < kLength ? values[thread] : 0;
  double sum = static_cast<double>(value) * static_cast<double>(value);
  for (int apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
  if (thread % 32 == 0) warp_sums[thread / 32] = sum;
  __syncthreads();
  sum = 0;
  for (int i = 0; i < kDescribeThreads / 32; ++i) sum += warp_sums[i];
  if (thread < kLength)
    descriptors[row * kLength + thread] = value * static_cast<float>(1 / fmax(sqrt(sum), 1e-7));
}

}  // namespace

void orient_surf(const char* op, const Stream& stream, const IntegralSums& sums,
                 const KeypointColumns& keypoints) {
  launch(op, stream, {blocks_of(keypoints.room, kWarps), kOrientThreads}, orient_kernel, sums, Weights(),
         keypoints);
}

void describe_surf(const char* op, const Stream& stream, const IntegralSums& sums,
                   const GivenKeypoints& keypoints, const int64_t* which, const int32_t* count, bool extended,
                   float* descriptors) {
  const LaunchShape shape = {static_cast<unsigned>(keypoints.n), kDescribeThreads};
  launch(op, stream, shape, extended ? describe_kernel<8> : describe_kernel<4>, sums, Weights(), keypoints,
         which, count, descriptors);
}

}  // namespace pyvision::cuda

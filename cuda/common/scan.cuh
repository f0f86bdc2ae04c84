// SPDX-License-Identifier: Apache-2.0
// Running sums, by one block that walks over the array: enough where the array is small beside the work
// around it.
#pragma once

#include "common/launch.cuh"

namespace pyvision::cuda {

constexpr int kScanThreads = 1024;

// sums[i] = values[0] + … + values[i]
template <class = void>
__global__ void inclusive_scan_kernel(const int32_t* values, int64_t n, int32_t* sums) {
  __shared__ int32_t warp_sums[32];
  __shared__ int32_t carried;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  if (thread == 0) carried = 0;
  __syncthreads();
  for (int64_t begin = 0; begin < n; begin += kScanThreads) {
    const int64_t i = begin + thread;
    int32_t sum = i < n ? values[i] : 0;
    for (int delta = 1; delta < 32; delta *= 2) {
      const int32_t left = __shfl_up_sync(0xffffffffu, sum, delta);
      if (lane >= delta) sum += left;
    }
    if (lane == 31) warp_sums[warp] = sum;
    __syncthreads();
    if (warp == 0) {
      int32_t total = warp_sums[lane];
      for (int delta = 1; delta < 32; delta *= 2) {
        const int32_t left = __shfl_up_sync(0xffffffffu, total, delta);
        if (lane >= delta) total += left;
      }
      __syncwarp();
      warp_sums[lane] = total;
    }
    __syncthreads();
    const int32_t before = carried + (warp > 0 ? warp_sums[warp - 1] : 0);
    if (i < n) sums[i] = before + sum;
    __syncthreads();
    if (thread == kScanThreads - 1) carried = before + sum;
    __syncthreads();
  }
}

inline void inclusive_scan(const char* op, const Stream& stream, const int32_t* values, int64_t n,
                           int32_t* sums) {
  launch(op, stream, {1, kScanThreads}, inclusive_scan_kernel<>, values, n, sums);
}

template <class = void>
__global__ void put_last_kernel(const int32_t* sums, int64_t n, int64_t most, int32_t* total) {
  *total = static_cast<int32_t>(min(static_cast<int64_t>(sums[n - 1]), most));
}

// total: (1,), the last of n > 0 running sums, or `most` if that is less
inline void put_last(const char* op, const Stream& stream, const int32_t* sums, int64_t n, int64_t most,
                     int32_t* total) {
  launch(op, stream, {1, 1}, put_last_kernel<>, sums, n, most, total);
}

}  // namespace pyvision::cuda

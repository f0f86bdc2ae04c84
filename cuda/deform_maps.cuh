// SPDX-License-Identifier: Apache-2.0
// Offsets and masks of deform_conv2d as its kernels read and write them.
#pragma once

#include <cuda_runtime.h>

#include "deform_conv2d.cuh"

namespace pyvision::cuda {

// To: T or const T
template <class To, class From>
DeformMap<To> typed(const DeformMap<From>& map) {
  return {static_cast<To*>(map.data), map.stride_n, map.stride_c, map.stride_h, map.stride_w};
}

template <class T>
__device__ __forceinline__ T* at(const DeformMap<T>& map, int64_t n, int64_t c, int64_t h, int64_t w) {
  return map.data + n * map.stride_n + c * map.stride_c + h * map.stride_h + w * map.stride_w;
}

}  // namespace pyvision::cuda

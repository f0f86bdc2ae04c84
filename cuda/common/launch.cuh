// SPDX-License-Identifier: Apache-2.0
// The one way a kernel is started.
#pragma once

#include "common/device.h"

#ifdef PYVISION_CUDA_EMULATED
#include "cuda_emulator/launch.h"
#else
#include "common/errors.h"
#endif

namespace pyvision::cuda {

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes = 0;  // dynamic
};

inline unsigned blocks_of(int64_t count, int64_t per_block) {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

// Throws where the launch is refused. A shape of no blocks starts nothing.
template <class... Params, class... Args>
void launch([[maybe_unused]] const char* op, [[maybe_unused]] const Stream& stream, const LaunchShape& shape,
            void (*kernel)(Params...), const Args&... args) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
#ifdef PYVISION_CUDA_EMULATED
  cuda_emulator::launch(shape.grid, shape.block, shape.shared_bytes, kernel, static_cast<Params>(args)...);
#else
  const DeviceGuard guard(op, stream.device);
  constexpr size_t kWithoutAsking = 48 << 10;  // more dynamic shared memory than this is opted into
  if (shape.shared_bytes > kWithoutAsking)
    check_cuda(op, cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                        cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(shape.shared_bytes)));
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream.handle;
  check_cuda(op, cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...));
#endif
}

// The block's dynamic shared memory, at a multiple of 1024 bytes.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
#ifdef PYVISION_CUDA_EMULATED
  return static_cast<T*>(cuda_emulator::dynamic_shared());
#else
  extern __shared__ __align__(1024) unsigned char pyvision_dynamic_shared[];
  return reinterpret_cast<T*>(pyvision_dynamic_shared);
#endif
}

}  // namespace pyvision::cuda

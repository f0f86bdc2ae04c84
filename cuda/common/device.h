// SPDX-License-Identifier: Apache-2.0
// Devices, streams and what can go wrong with them, for host code. The only header through which bindings see
// CUDA.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace pyvision::cuda {

// Becomes pyvision.CudaError. Says what to do about it.
struct CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// Becomes Python's MemoryError.
struct OutOfDeviceMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The caller's: work is queued there and nowhere else, and nobody waits for it.
struct Stream {
  int device = 0;
  cudaStream_t handle = nullptr;
};

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;  // compute capability
};

// All throw CudaError where there is no driver, or none new enough.
int device_count();
DeviceInfo device_info(int device);
// Asked once for each device.
int multiprocessors(int device);

}  // namespace pyvision::cuda

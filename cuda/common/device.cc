// SPDX-License-Identifier: Apache-2.0
#include "common/device.h"

#include <atomic>

#include "common/errors.h"

namespace pyvision::cuda {

void throw_cuda_error(const char* op, cudaError_t error) {
  std::string advice;
  switch (error) {
    case cudaErrorMemoryAllocation:
      cudaGetLastError();  // not sticky: the next call may succeed
      throw OutOfDeviceMemory(std::string("[") + op +
                              "] expected more free memory on the device: " + cudaGetErrorString(error));
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorInitializationError:
      advice = "; install an NVIDIA driver for CUDA " + std::to_string(CUDART_VERSION / 1000) +
               " or newer, or move the arrays to the CPU";
      break;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorUnsupportedPtxVersion:
      advice = std::string("; this build has kernels for ") + PYVISION_CUDA_ARCHITECTURES +
               ": rebuild with -C cmake.define.CMAKE_CUDA_ARCHITECTURES=native";
      break;
    default:
      break;
  }
  cudaGetLastError();
  throw CudaError(std::string("[") + op + "] expected CUDA to work, got " + cudaGetErrorName(error) + ": " +
                  cudaGetErrorString(error) + advice);
}

int device_count() {
  int count = 0;
  check_cuda("cuda", cudaGetDeviceCount(&count));
  return count;
}

DeviceInfo device_info(int device) {
  cudaDeviceProp properties;
  check_cuda("cuda", cudaGetDeviceProperties(&properties, device));
  return {properties.name, properties.major, properties.minor};
}

int multiprocessors(int device) {
  constexpr int kDevices = 64;
  static std::atomic<int> known[kDevices];
  if (device < kDevices && known[device] > 0) return known[device];
  int count = 0;
  check_cuda("cuda", cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  if (device < kDevices) known[device] = count;
  return count;
}

}  // namespace pyvision::cuda

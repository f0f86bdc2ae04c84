// SPDX-License-Identifier: Apache-2.0
// Errors of the CUDA runtime as exceptions.
#pragma once

#include "common/device.h"

namespace pyvision::cuda {

[[noreturn]] void throw_cuda_error(const char* op, cudaError_t error);

inline void check_cuda(const char* op, cudaError_t error) {
  if (error != cudaSuccess) throw_cuda_error(op, error);
}

// The device of a stream is the current one as long as this lives.
class DeviceGuard {
 public:
  DeviceGuard(const char* op, int device) {
    check_cuda(op, cudaGetDevice(&before_));
    if (device != before_) check_cuda(op, cudaSetDevice(device));
  }
  ~DeviceGuard() { cudaSetDevice(before_); }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_ = 0;
};

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
// What cuda/common/device.cc asks the CUDA runtime; and, for tests, the emulator's memory and schedule.
#include "common/device.h"

#include <cstring>

namespace pyvision::cuda {

int device_count() { return 1; }
DeviceInfo device_info(int device) {
  if (device > 0) throw CudaError("[cuda] expected device 0, the only one, got " + std::to_string(device));
  if (device < 0)
    throw OutOfDeviceMemory("[cuda] expected memory of a device, got device " + std::to_string(device));
  return {"emulator", 8, 0};
}
int multiprocessors(int) { return 4; }

}  // namespace pyvision::cuda

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT void* emulator_malloc(size_t bytes) { return cuda_emulator::device_malloc(bytes); }
EXPORT void emulator_free(void* pointer) { cuda_emulator::device_free(pointer); }
EXPORT void emulator_upload(void* device, const void* host, size_t bytes) {
  std::memcpy(device, host, bytes);
  cuda_emulator::mark_written(device, bytes);
}
EXPORT int emulator_multiprocessors() { return pyvision::cuda::multiprocessors(0); }
EXPORT void emulator_set_falling_order(int falling) { cuda_emulator::set_falling_order(falling != 0); }

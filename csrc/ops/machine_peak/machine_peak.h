// SPDX-License-Identifier: Apache-2.0
// machine_peak: the two ceilings a kernel is measured against, taken in the same process and minute.
//   fma peak        2 * lanes * chains * repetitions / seconds, of independent multiply-adds in registers
//   copy bandwidth  2 * bytes / seconds, of memcpy: each byte is read once and written once
#pragma once

#include <cstdint>

#include "core/dispatch.h"

namespace pyvision {

constexpr int kMaxChainValues = 24 * 16;  // chains times lanes, of the widest kernel

struct MachinePeakKernels {
  const char* isa;
  int64_t flops_per_repetition;
  // Starts every chain from `values` and leaves its end there, so that none can be optimised away.
  void (*fma_chains)(int64_t repetitions, float* values);
};

PYVISION_KERNELS(MachinePeakKernels, machine_peak)

// Multiply-adds of the ISA in force on each of `threads` threads, a few nanoseconds a repetition. What they
// are in FLOP: whoever times them has the peak.
double run_fma_chains(int64_t repetitions, int threads);

// Bytes per second, read and written, when each thread copies its share of a buffer of `bytes` bytes to
// another one for `seconds`. Each thread's fastest copy counts: one that was interrupted says nothing about a
// ceiling.
double measure_copy_bandwidth(int64_t bytes, double seconds, int threads);

}  // namespace pyvision

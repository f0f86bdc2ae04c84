// SPDX-License-Identifier: Apache-2.0
// machine_peak: the two ceilings a kernel is measured against, taken in the same process and minute.
//   fma peak        2 * lanes * chains * repetitions / seconds, of independent multiply-adds held in
//   registers copy bandwidth  2 * bytes / seconds, of memcpy: each byte is read once and written once
//
// Work is timed in blocks of about a millisecond and each thread's fastest block counts: a block that was
// interrupted says nothing about a ceiling. The threads' rates are summed.
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

// FLOP per second of the ISA in force. `seconds` of measuring, `threads` of the pool's.
double measure_fma_peak(double seconds, int threads);

// Bytes per second, read and written, when each thread copies its share of a buffer of `bytes` bytes to
// another one.
double measure_copy_bandwidth(int64_t bytes, double seconds, int threads);

}  // namespace pyvision

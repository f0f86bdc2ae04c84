// SPDX-License-Identifier: Apache-2.0
#include "ops/machine_peak/machine_peak.h"

namespace pyvision::PYVISION_ISA_NS {

// Latency times throughput is 8 to 10 vectors on today's cores. 12 leave room for both operands in 16
// registers; one-lane "vectors" get 48, which the compiler packs into 12 of the baseline's.
constexpr int kChains = F32::kLanes == 1 ? 48 : F32::kLanes == 16 ? 24 : 12;
static_assert(F32::kLanes * kChains <= kMaxChainValues, "the caller's buffer takes every chain's lanes");

inline void fma_chains(int64_t repetitions, float* values /* (kLanes * kChains,) */) {
  // x <- 0.5 x + 1 tends to 2 from any start in [0, 4): never subnormal, never infinite.
  const F32 half = F32::set(0.5f), one = F32::set(1.0f);
  F32 chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = F32::load(values + i * F32::kLanes);
  for (int64_t r = 0; r < repetitions; ++r) {
#pragma GCC unroll 48
    for (int i = 0; i < kChains; ++i) chains[i] = fma(chains[i], half, one);
  }
  for (int i = 0; i < kChains; ++i) chains[i].store(values + i * F32::kLanes);
}

const MachinePeakKernels machine_peak = {F32::kIsaName, 2 * F32::kLanes * kChains, fma_chains};

}  // namespace pyvision::PYVISION_ISA_NS

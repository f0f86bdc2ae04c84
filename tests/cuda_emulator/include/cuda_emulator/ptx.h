// SPDX-License-Identifier: Apache-2.0
// The PTX instructions behind cuda/common/ptx.cuh, with the fragment layouts of the PTX ISA (sections
// "Warp-level matrix load instruction: ldmatrix" and "Matrix multiply-accumulate operation using mma").
#pragma once

#include <cstdint>

#include "cuda_bf16.h"
#include "cuda_emulator/runtime.h"
#include "cuda_fp16.h"

namespace cuda_emulator {

struct LoadMatrix {
  const void* row;  // 16 bytes of shared memory: lane 8 i + r gives row r of matrix i
  uint32_t result[4];
  int matrices;
  bool transposed;
  Location at;
};
const char* complete_load_matrix(void* const* payloads, uint32_t arrived);

enum class MmaKind : uint8_t { kF16, kBf16, kTf32 };
// m16n8k16 (f16, bf16) or m16n8k8 (tf32): d += a b, all of it in registers.
struct Mma {
  MmaKind kind;
  float* d;           // (4,)
  const uint32_t* a;  // (4,)
  const uint32_t* b;  // (2,)
};
const char* complete_mma(void* const* payloads, uint32_t arrived);

inline void load_matrix(uint32_t* result, int matrices, bool transposed, const void* row, Location at) {
  LoadMatrix payload = {row, {}, matrices, transposed, at};
  warp_collective("ldmatrix", 0xffffffffu, &payload, complete_load_matrix, at);
  for (int i = 0; i < matrices; ++i) result[i] = payload.result[i];
}

inline void mma(MmaKind kind, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Location at) {
  Mma payload = {kind, d, a, b};
  warp_collective("mma.sync", 0xffffffffu, &payload, complete_mma, at);
}

}  // namespace cuda_emulator

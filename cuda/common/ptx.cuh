// SPDX-License-Identifier: Apache-2.0
// The PTX instructions that CUDA C++ has no name for, sm_80 and later. Fragments are laid out as the PTX ISA
// draws them: of a 16x16 (f16, bf16) or 16x8 (tf32) A tile, a 16x8 or 8x8 B tile and a 16x8 D tile,
//   lane = 4 g + t holds  D[g][2t, 2t+1], D[g+8][2t, 2t+1]
//   f16, bf16:  A[g][2t, 2t+1], A[g+8][2t, …], A[g][2t+8, …], A[g+8][2t+8, …];  B[2t, 2t+1][g], B[2t+8, …][g]
//   tf32:       A[g][t], A[g+8][t], A[g][t+4], A[g+8][t+4];                      B[t][g], B[t+4][g]
// which is what ldmatrix yields for rows of 16 bytes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#ifdef PYVISION_CUDA_EMULATED
#include "cuda_emulator/ptx.h"
#define PYVISION_AT , cuda_emulator::Location at = cuda_emulator::Location::here()
#else
#define PYVISION_AT
#endif

namespace pyvision::cuda {

struct Tf32 {
  float value;
};

#ifndef PYVISION_CUDA_EMULATED
__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}
#endif

// 16 bytes from global to shared memory behind the thread's back: the first source_bytes of them, then zeros.
__device__ __forceinline__ void cp_async16(void* shared, const void* global, int source_bytes PYVISION_AT) {
#ifdef PYVISION_CUDA_EMULATED
  cuda_emulator::async_copy(shared, global, 16, static_cast<size_t>(source_bytes), at);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(shared)), "l"(global),
               "r"(source_bytes)
               : "memory");
#endif
}

// Ends a group of copies.
__device__ __forceinline__ void cp_async_commit() {
#ifdef PYVISION_CUDA_EMULATED
  cuda_emulator::async_commit();
#else
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

// Waits until at most kGroups of this thread's groups are under way.
template <int kGroups>
__device__ __forceinline__ void cp_async_wait() {
#ifdef PYVISION_CUDA_EMULATED
  cuda_emulator::async_wait(kGroups);
#else
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kGroups) : "memory");
#endif
}

// Four 8x8 matrices of 2-byte elements; lane 8 i + r names the 16 bytes of row r of matrix i.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&result)[4], const void* row PYVISION_AT) {
#ifdef PYVISION_CUDA_EMULATED
  cuda_emulator::load_matrix(result, 4, false, row, at);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
               : "r"(shared_address(row))
               : "memory");
#endif
}

// The same, each matrix transposed: what a fragment's rows are lies in columns.
__device__ __forceinline__ void ldmatrix_x4_transposed(uint32_t (&result)[4], const void* row PYVISION_AT) {
#ifdef PYVISION_CUDA_EMULATED
  cuda_emulator::load_matrix(result, 4, true, row, at);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
               : "r"(shared_address(row))
               : "memory");
#endif
}

// d += a b for one 16 x 8 tile, 32 bytes of K deep.
template <class T>
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4],
                                    const uint32_t (&b)[2] PYVISION_AT);

#ifdef PYVISION_CUDA_EMULATED
#define PYVISION_MMA(T, kind, instruction)                                          \
  template <>                                                                       \
  inline void mma<T>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], \
                     cuda_emulator::Location at) {                                  \
    cuda_emulator::mma(cuda_emulator::MmaKind::kind, d, a, b, at);                  \
  }
#else
#define PYVISION_MMA(T, kind, instruction)                                                                \
  template <>                                                                                             \
  __device__ __forceinline__ void mma<T>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { \
    asm volatile("mma.sync.aligned." instruction                                                          \
                 " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"                     \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                         \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                     \
  }
#endif
PYVISION_MMA(__half, kF16, "m16n8k16.row.col.f32.f16.f16.f32")
PYVISION_MMA(__nv_bfloat16, kBf16, "m16n8k16.row.col.f32.bf16.bf16.f32")
PYVISION_MMA(Tf32, kTf32, "m16n8k8.row.col.f32.tf32.tf32.f32")
#undef PYVISION_MMA

}  // namespace pyvision::cuda
#undef PYVISION_AT

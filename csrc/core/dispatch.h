// SPDX-License-Identifier: Apache-2.0
// Kernel tables. An op that has SIMD kernels defines a struct of function pointers, says
//   PYVISION_KERNELS(SoftmaxKernels, softmax)
// in its header, and defines `const SoftmaxKernels softmax` once per ISA file; its first member `isa` names
// the ISA it was compiled for, so that a test can tell a silent fallback. The op then calls through
// softmax_kernels(), which is one load from this table: dispatch happens once at the op's boundary.
#pragma once

#include "core/cpu.h"

//
// A table that has a further version for an extension of AVX-512, in a file and namespace of its own
// (avx512_bf16), says PYVISION_EXTENDED_KERNELS(Bf16Kernels, conv2d_bf16, bf16, kBf16) instead.

// The one list of ISAs with kernels, in the order of enum Isa.
#if defined(__x86_64__)
#define PYVISION_FOR_EACH_ISA(X, ...) X(scalar, __VA_ARGS__) X(avx2, __VA_ARGS__) X(avx512, __VA_ARGS__)
#else
#define PYVISION_FOR_EACH_ISA(X, ...) X(scalar, __VA_ARGS__)
#endif

#define PYVISION_DECLARE_KERNEL(isa, Type, name) \
  namespace isa {                                \
  extern const Type name;                        \
  }
#define PYVISION_KERNEL_ADDRESS(isa, Type, name) &isa::name,

#define PYVISION_KERNELS(Type, name)                                                                      \
  PYVISION_FOR_EACH_ISA(PYVISION_DECLARE_KERNEL, Type, name)                                              \
  inline const Type& name##_kernels() {                                                                   \
    static constexpr const Type* kTable[] = {PYVISION_FOR_EACH_ISA(PYVISION_KERNEL_ADDRESS, Type, name)}; \
    return *kTable[static_cast<int>(active_isa())];                                                       \
  }                                                                                                       \
  /* used: module.cc calls it without this header */                                                      \
  [[gnu::used]] inline const char* name##_kernel_isa() { return name##_kernels().isa; }

#if defined(__x86_64__)
#define PYVISION_EXTENDED_KERNELS(Type, name, extension, bit)                                             \
  PYVISION_FOR_EACH_ISA(PYVISION_DECLARE_KERNEL, Type, name)                                              \
  PYVISION_DECLARE_KERNEL(avx512_##extension, Type, name)                                                 \
  inline const Type& name##_kernels() {                                                                   \
    static constexpr const Type* kTable[] = {PYVISION_FOR_EACH_ISA(PYVISION_KERNEL_ADDRESS, Type, name)}; \
    if (extension_active(IsaExtension::bit)) return avx512_##extension::name;                             \
    return *kTable[static_cast<int>(active_isa())];                                                       \
  }                                                                                                       \
  [[gnu::used]] inline const char* name##_kernel_isa() { return name##_kernels().isa; }
#else
#define PYVISION_EXTENDED_KERNELS(Type, name, extension, bit) PYVISION_KERNELS(Type, name)
#endif

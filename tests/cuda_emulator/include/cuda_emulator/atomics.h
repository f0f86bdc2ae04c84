// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda_emulator/runtime.h"

namespace cuda_emulator {

// A value of the address's type, whatever the caller's literal is.
template <class T>
struct Identity {
  using Type = T;
};
template <class T>
using As = typename Identity<T>::Type;

template <class T, class Update>
T atomic(T* address, Location at, Update update) {
  AtomicAccess alone(address, sizeof(T), at);
  const T old = *address;
  *address = update(old);
  return old;
}

}  // namespace cuda_emulator

#define CUDA_EMULATOR_ATOMIC(name, expression)                                                    \
  template <class T>                                                                              \
  T name(T* address, cuda_emulator::As<T> value,                                                  \
         cuda_emulator::Location at = cuda_emulator::Location::here()) {                          \
    return cuda_emulator::atomic(address, at, [&](T old) { return static_cast<T>(expression); }); \
  }
CUDA_EMULATOR_ATOMIC(atomicAdd, old + value)
CUDA_EMULATOR_ATOMIC(atomicMin, value < old ? value : old)
CUDA_EMULATOR_ATOMIC(atomicMax, old < value ? value : old)
CUDA_EMULATOR_ATOMIC(atomicAnd, old& value)
CUDA_EMULATOR_ATOMIC(atomicOr, old | value)
CUDA_EMULATOR_ATOMIC(atomicXor, old ^ value)
CUDA_EMULATOR_ATOMIC(atomicExch, (static_cast<void>(old), value))
#undef CUDA_EMULATOR_ATOMIC

template <class T>
T atomicCAS(T* address, cuda_emulator::As<T> compare, cuda_emulator::As<T> value,
            cuda_emulator::Location at = cuda_emulator::Location::here()) {
  return cuda_emulator::atomic(address, at, [&](T old) { return old == compare ? value : old; });
}

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>
#include <type_traits>

#include "cuda_emulator/runtime.h"

namespace cuda_emulator {

template <class... Params>
struct Call {
  void (*kernel)(Params...);
  std::tuple<Params...> arguments;
  static void invoke(void* call) {
    std::apply(static_cast<Call*>(call)->kernel, static_cast<Call*>(call)->arguments);
  }
};

// What kernel<<<grid, block, shared_bytes>>>(arguments...) does, and waits for it.
template <class... Params>
void launch(const Dim3& grid, const Dim3& block, size_t shared_bytes, void (*kernel)(Params...),
            Params... arguments) {
  static_assert((std::is_trivially_copyable_v<Params> && ...), "a kernel's arguments are copied as bytes");
  const Call<Params...> call = {kernel, {arguments...}};
  run_grid(grid, block, shared_bytes, &Call<Params...>::invoke, &call, sizeof call);
}

}  // namespace cuda_emulator

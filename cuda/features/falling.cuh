// SPDX-License-Identifier: Apache-2.0
// Numbers by falling responses, equal ones as they stood.
#pragma once

#include "common/keys.cuh"
#include "common/sort.h"
#include "common/workspace.h"

namespace pyvision::cuda {

struct FallingOrder {
  int64_t n;
  uint32_t *keys, *sorted_keys;
  int32_t *numbers, *sorted;
  size_t sort_bytes;
  char* sort_memory;

  FallingOrder(const char* op, const Stream& stream, int64_t count, Workspace* workspace)
      : n(count),
        keys(workspace->take<uint32_t>(n)),
        sorted_keys(workspace->take<uint32_t>(n)),
        numbers(workspace->take<int32_t>(n)),
        sorted(workspace->take<int32_t>(n)),
        sort_bytes(sort_temporary_bytes<uint32_t>(op, stream, n)),
        sort_memory(workspace->take<char>(static_cast<int64_t>(sort_bytes))) {}

  __device__ void put(int32_t place, float response, int64_t number) const {
    keys[place] = falling_key(response);
    numbers[place] = static_cast<int32_t>(number);
  }
  // All of them have been put.
  void sort(const char* op, const Stream& stream) const {
    sort_pairs(op, stream, keys, numbers, n, sort_memory, sort_bytes, sorted_keys, sorted);
  }
};

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
// What cuda/common/sort.cu does with CUB.
#include "common/sort.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace pyvision::cuda {

template <class Key>
size_t sort_temporary_bytes(const char*, const Stream&, int64_t) {
  return 1;
}

template <class Key>
void sort_pairs(const char*, const Stream&, const Key* keys, const int32_t* values, int64_t n, void*, size_t,
                Key* sorted_keys, int32_t* sorted_values) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return keys[a] < keys[b]; });
  for (int64_t i = 0; i < n; ++i) {
    sorted_keys[i] = keys[order[i]];
    sorted_values[i] = values[order[i]];
  }
  cuda_emulator::mark_written(sorted_keys, static_cast<size_t>(n) * sizeof(Key));
  cuda_emulator::mark_written(sorted_values, static_cast<size_t>(n) * sizeof(int32_t));
}

#define PYVISION_SORT(Key)                                                                              \
  template size_t sort_temporary_bytes<Key>(const char*, const Stream&, int64_t);                       \
  template void sort_pairs<Key>(const char*, const Stream&, const Key*, const int32_t*, int64_t, void*, \
                                size_t, Key*, int32_t*);
PYVISION_SORT(uint32_t)
PYVISION_SORT(uint64_t)
#undef PYVISION_SORT

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
#include "common/sort.h"

#include <cub/device/device_radix_sort.cuh>

#include "common/errors.h"

namespace pyvision::cuda {

template <class Key>
size_t sort_temporary_bytes(const char* op, const Stream& stream, int64_t n) {
  const DeviceGuard guard(op, stream.device);
  size_t bytes = 0;
  check_cuda(op,
             cub::DeviceRadixSort::SortPairs(nullptr, bytes, static_cast<const Key*>(nullptr),
                                             static_cast<Key*>(nullptr), static_cast<const int32_t*>(nullptr),
                                             static_cast<int32_t*>(nullptr), static_cast<int>(n)));
  return bytes;
}

template <class Key>
void sort_pairs(const char* op, const Stream& stream, const Key* keys, const int32_t* values, int64_t n,
                void* temporary, size_t temporary_bytes, Key* sorted_keys, int32_t* sorted_values) {
  const DeviceGuard guard(op, stream.device);
  check_cuda(op, cub::DeviceRadixSort::SortPairs(temporary, temporary_bytes, keys, sorted_keys, values,
                                                 sorted_values, static_cast<int>(n), 0,
                                                 static_cast<int>(8 * sizeof(Key)), stream.handle));
}

#define PYVISION_SORT(Key)                                                                              \
  template size_t sort_temporary_bytes<Key>(const char*, const Stream&, int64_t);                       \
  template void sort_pairs<Key>(const char*, const Stream&, const Key*, const int32_t*, int64_t, void*, \
                                size_t, Key*, int32_t*);
PYVISION_SORT(uint32_t)
PYVISION_SORT(uint64_t)
#undef PYVISION_SORT

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
// Stable sort of pairs by rising key, on the device: CUB's radix sort.
#pragma once

#include <cstdint>

#include "common/device.h"

namespace pyvision::cuda {

// Key: uint32_t or uint64_t. n < 2^31
template <class Key>
size_t sort_temporary_bytes(const char* op, const Stream& stream, int64_t n);

// keys, values: (n,); temporary: as many bytes as sort_temporary_bytes says
template <class Key>
void sort_pairs(const char* op, const Stream& stream, const Key* keys, const int32_t* values, int64_t n,
                void* temporary, size_t temporary_bytes, Key* sorted_keys, int32_t* sorted_values);

}  // namespace pyvision::cuda

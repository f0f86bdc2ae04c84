// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace pyvision {

// Boxes as the vectors read them: one column per field, each (n,).
template <class T, int kFieldCount>
struct Columns {
  static constexpr int kFields = kFieldCount;
  T* field[kFields];

  // Columns one after the other in memory for kFields * n values.
  Columns(T* memory, int64_t n) {
    for (int k = 0; k < kFields; ++k) field[k] = memory + k * n;
  }

  Columns at(int64_t i) const {
    Columns shifted = *this;
    for (T*& column : shifted.field) column += i;
    return shifted;
  }
};

}  // namespace pyvision

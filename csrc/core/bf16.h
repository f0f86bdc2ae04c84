// SPDX-License-Identifier: Apache-2.0
// bfloat16 as storage: the upper half of a float, rounded to nearest even.
#pragma once

#include <cstdint>

namespace pyvision {

struct Bf16 {
  uint16_t bits;
};

}  // namespace pyvision

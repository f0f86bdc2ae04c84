// SPDX-License-Identifier: Apache-2.0
// A grey picture: what feature detectors look at.
#pragma once

#include <cstdint>

namespace pyvision {

struct GreyImage {
  const uint8_t* data = nullptr;  // (h, w), neighbours along a row are neighbours in memory
  int64_t h = 0, w = 0, stride = 0;

  const uint8_t* row(int64_t y) const { return data + y * stride; }
};

}  // namespace pyvision

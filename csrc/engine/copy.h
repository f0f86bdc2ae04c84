// SPDX-License-Identifier: Apache-2.0
// Copying maps and channel slices of maps.
#pragma once

#include "core/tensor.h"

namespace pyvision::engine {

// y = x; both (n, h, w, c). Nothing happens when they are the same memory.
void copy_map(const Nhwc<const float>& x, const Nhwc<float>& y);

// Channels [channel, channel + count) of every pixel.
template <class T>
Nhwc<T> channel_slice(Nhwc<T> map, int64_t channel, int64_t count) {
  map.data += channel;
  map.c = count;
  return map;
}

}  // namespace pyvision::engine

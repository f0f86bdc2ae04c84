// SPDX-License-Identifier: Apache-2.0
#include "ops/pixel_shuffle/pixel_shuffle.h"

#include <algorithm>

#include "core/parallel.h"

namespace pyvision {
namespace {

// Calls copy(fine, coarse) for the places of all elements, in the order of the fine map, row after row of the
// coarse one in parallel. Where channels are neighbours they are the innermost loop.
template <class Copy>
void for_each_element(const PixelShuffle& job, Copy copy) {
  const int64_t r = job.factor, outer = job.planar ? job.channels : 1, inner = job.planar ? 1 : job.channels;
  const int64_t plane = job.h * job.w, all = job.channels * r * r;
  const int64_t rows = job.n * outer * job.h, row = r * job.w * r * inner;  // of the fine map
  if (rows * row == 0) return;
  // coarse strides
  const int64_t across = job.planar ? 1 : all, part = job.planar ? plane : 1, channel = r * r;
  const int64_t grain = std::max<int64_t>(1, (1 << 15) / row);  // some 10 us
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const int64_t h = index % job.h, c = index / job.h % outer, n = index / job.h / outer;  // [0, h) …
      int64_t fine = index * row;
      const int64_t first =
          job.planar ? ((n * job.channels + c) * r * r * job.h + h) * job.w : (n * job.h + h) * job.w * all;
      for (int64_t i = 0; i < r; ++i)
        for (int64_t w = 0; w < job.w; ++w)
          for (int64_t j = 0; j < r; ++j) {
            const int64_t coarse = first + w * across + (i * r + j) * part;
            for (int64_t k = 0; k < inner; ++k) copy(fine++, coarse + k * channel);
          }
    }
  });
}

// Calls body with a null pointer to an unsigned integer of `size` bytes.
template <class Body>
void with_element(int64_t size, Body body) {
  if (size == 1) return body(static_cast<uint8_t*>(nullptr));
  if (size == 2) return body(static_cast<uint16_t*>(nullptr));
  if (size == 4) return body(static_cast<uint32_t*>(nullptr));
  body(static_cast<uint64_t*>(nullptr));
}

}  // namespace

void pixel_shuffle(const PixelShuffle& job, int64_t size, const void* coarse, void* fine) {
  with_element(size, [&](auto* type) {
    const auto* const from = static_cast<decltype(type)>(const_cast<void*>(coarse));
    const auto to = static_cast<decltype(type)>(fine);
    for_each_element(job, [=](int64_t fine_at, int64_t coarse_at) { to[fine_at] = from[coarse_at]; });
  });
}

void pixel_unshuffle(const PixelShuffle& job, int64_t size, const void* fine, void* coarse) {
  with_element(size, [&](auto* type) {
    const auto* const from = static_cast<decltype(type)>(const_cast<void*>(fine));
    const auto to = static_cast<decltype(type)>(coarse);
    for_each_element(job, [=](int64_t fine_at, int64_t coarse_at) { to[coarse_at] = from[fine_at]; });
  });
}

}  // namespace pyvision

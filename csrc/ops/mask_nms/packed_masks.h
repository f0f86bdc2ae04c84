// SPDX-License-Identifier: Apache-2.0
// Masks as bits: the intersection of two is an AND and a population count.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {

class PackedMasks {
 public:
  // masks: (n, pixels), a pixel is set unless it is 0
  PackedMasks(const uint8_t* masks, int64_t n, int64_t pixels)
      : words_((pixels + 63) / 64), bits_(n * words_), spans_(n) {
    const int64_t grain = std::max<int64_t>(1, (1 << 18) / (pixels + 1));
    uint64_t* const bits = bits_;
    Span* const spans = spans_;
    parallel_for(n, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) spans[i] = pack(masks + i * pixels, pixels, bits + i * words_);
    });
  }

  int64_t area(int64_t i) const { return spans_[i].area; }

  double iou(int64_t i, int64_t j) const {
    const Span a = spans_[i], b = spans_[j];
    const uint64_t *p = bits_ + i * words_, *q = bits_ + j * words_;
    int64_t both = 0;
    for (int64_t w = std::max(a.first, b.first), last = std::min(a.last, b.last); w < last; ++w)
      both += __builtin_popcountll(p[w] & q[w]);
    return both == 0 ? 0.0 : static_cast<double>(both) / static_cast<double>(a.area + b.area - both);
  }

 private:
  struct Span {
    int64_t first, last, area;  // words [first, last) hold every set pixel
  };

  static Span pack(const uint8_t* mask, int64_t pixels, uint64_t* words) {
    Span span = {0, 0, 0};
    for (int64_t w = 0; 64 * w < pixels; ++w) {
      const int64_t count = std::min<int64_t>(64, pixels - 64 * w);
      uint64_t word = 0;
      for (int64_t k = 0; k < count; k += 8) {
        uint64_t bytes = 0;
        std::memcpy(&bytes, mask + 64 * w + k, static_cast<size_t>(std::min<int64_t>(8, count - k)));
        bytes |= bytes >> 4 & 0x0f0f0f0f0f0f0f0f;  // any bit of a byte into its lowest
        bytes |= bytes >> 2 & 0x3f3f3f3f3f3f3f3f;
        bytes |= bytes >> 1 & 0x7f7f7f7f7f7f7f7f;
        word |= ((bytes & 0x0101010101010101) * 0x0102040810204080 >> 56) << k;
      }
      words[w] = word;
      if (word == 0) continue;
      if (span.area == 0) span.first = w;
      span.last = w + 1;
      span.area += __builtin_popcountll(word);
    }
    return span;
  }

  int64_t words_;
  Scratch<uint64_t> bits_;
  Scratch<Span> spans_;
};

}  // namespace pyvision

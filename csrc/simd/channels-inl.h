// SPDX-License-Identifier: Apache-2.0
// Walking a pixel's channels in blocks of a few vectors, so that a loop over taps or pixels around the block
// keeps one accumulator per vector. Include after one of scalar.h, avx2.h, avx512.h.
#pragma once

#include <cstdint>

namespace pyvision::PYVISION_ISA_NS {

constexpr int kBlockVecs =
    4;  // accumulators enough to hide an add's latency, few enough to stay in registers

// kVecs neighbouring vectors; with kTail the last of them has only `tail` lanes.
template <int kVecs_, bool kTail>
struct ChannelBlock {
  static constexpr int kVecs = kVecs_;
  int tail = F32::kLanes;

  F32 load(const float* p, int v) const {
    if (kTail && v == kVecs - 1) return F32::load_n(p + v * F32::kLanes, tail);
    return F32::load(p + v * F32::kLanes);
  }
  void store(F32 x, float* p, int v) const {
    if (kTail && v == kVecs - 1)
      x.store_n(p + v * F32::kLanes, tail);
    else
      x.store(p + v * F32::kLanes);
  }
  int lanes() const { return (kVecs - 1) * F32::kLanes + tail; }
};

template <class Rest, class Row>
inline void with_channel_rest(int64_t channels, Rest rest, Row row) {
  row([=](auto pixel) {
    int64_t c = 0;
    for (; c + kBlockVecs * F32::kLanes <= channels; c += kBlockVecs * F32::kLanes)
      pixel(ChannelBlock<kBlockVecs, false>{}, c);
    pixel(rest, c);
  });
}
template <class Row>
inline void with_channel_rest(int64_t channels, ChannelBlock<0, false>, Row row) {
  row([=](auto pixel) {
    for (int64_t c = 0; c < channels; c += kBlockVecs * F32::kLanes)
      pixel(ChannelBlock<kBlockVecs, false>{}, c);
  });
}

// Calls row(each) once; each(pixel) calls pixel(block, c) for the blocks that cover [0, channels), their
// number of vectors known at compile time. The choice is made outside the loop over pixels in `row`.
template <class Row>
inline void with_channel_blocks(int64_t channels, Row row) {
  const int rest = static_cast<int>(channels % (kBlockVecs * F32::kLanes));
  const int vecs = (rest + F32::kLanes - 1) / F32::kLanes;  // [0, kBlockVecs]
  const int tail = rest - (vecs - 1) * F32::kLanes;         // [1, kLanes] if vecs > 0
  if (vecs == 0) return with_channel_rest(channels, ChannelBlock<0, false>{}, row);
  if (tail == F32::kLanes) {
    if (vecs == 1) return with_channel_rest(channels, ChannelBlock<1, false>{}, row);
    if (vecs == 2) return with_channel_rest(channels, ChannelBlock<2, false>{}, row);
    return with_channel_rest(channels, ChannelBlock<3, false>{}, row);
  }
  if (vecs == 1) return with_channel_rest(channels, ChannelBlock<1, true>{tail}, row);
  if (vecs == 2) return with_channel_rest(channels, ChannelBlock<2, true>{tail}, row);
  if (vecs == 3) return with_channel_rest(channels, ChannelBlock<3, true>{tail}, row);
  return with_channel_rest(channels, ChannelBlock<4, true>{tail}, row);
}

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
// What the lanes of a warp do together: shuffles, votes, __syncwarp.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuda_emulator/runtime.h"

inline void __syncwarp(unsigned mask = 0xffffffffu,
                       cuda_emulator::Location at = cuda_emulator::Location::here()) {
  cuda_emulator::warp_collective("__syncwarp", mask, nullptr, nullptr, at, true);
}

namespace cuda_emulator {

struct alignas(16) Shuffle {  // compilers write its halves together
  uint64_t value, result;
  unsigned source;  // the lane read
};
const char* complete_shuffle(void* const* payloads, uint32_t arrived);

struct Vote {
  bool predicate;
  uint32_t ballot;
};
const char* complete_vote(void* const* payloads, uint32_t arrived);

template <class T>
T shuffle(const char* name, unsigned mask, T value, unsigned source, Location at) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  Shuffle payload = {0, 0, source};
  std::memcpy(&payload.value, &value, sizeof value);
  warp_collective(name, mask, &payload, complete_shuffle, at);
  std::memcpy(&value, &payload.result, sizeof value);
  return value;
}

inline uint32_t vote(const char* name, unsigned mask, int predicate, Location at) {
  Vote payload = {predicate != 0, 0};
  warp_collective(name, mask, &payload, complete_vote, at);
  return payload.ballot;
}

}  // namespace cuda_emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              cuda_emulator::Location at = cuda_emulator::Location::here()) {
  const unsigned lane = cuda_emulator::coordinates().lane, segment = lane & ~(width - 1u);
  return cuda_emulator::shuffle("__shfl_sync", mask, value, segment + (source & (width - 1u)), at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 cuda_emulator::Location at = cuda_emulator::Location::here()) {
  const unsigned lane = cuda_emulator::coordinates().lane, within = lane & (width - 1u);
  return cuda_emulator::shuffle("__shfl_up_sync", mask, value, within < delta ? lane : lane - delta, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   cuda_emulator::Location at = cuda_emulator::Location::here()) {
  const unsigned lane = cuda_emulator::coordinates().lane, within = lane & (width - 1u);
  const bool outside = within + delta >= static_cast<unsigned>(width);
  return cuda_emulator::shuffle("__shfl_down_sync", mask, value, outside ? lane : lane + delta, at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  cuda_emulator::Location at = cuda_emulator::Location::here()) {
  const unsigned lane = cuda_emulator::coordinates().lane, source = lane ^ lane_mask;
  const bool outside = source >= (lane & ~(width - 1u)) + width;
  return cuda_emulator::shuffle("__shfl_xor_sync", mask, value, outside ? lane : source, at);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              cuda_emulator::Location at = cuda_emulator::Location::here()) {
  return cuda_emulator::vote("__ballot_sync", mask, predicate, at);
}
inline int __any_sync(unsigned mask, int predicate,
                      cuda_emulator::Location at = cuda_emulator::Location::here()) {
  return cuda_emulator::vote("__any_sync", mask, predicate, at) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      cuda_emulator::Location at = cuda_emulator::Location::here()) {
  return cuda_emulator::vote("__all_sync", mask, predicate == 0, at) == 0;
}

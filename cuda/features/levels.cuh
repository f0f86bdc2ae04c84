// SPDX-License-Identifier: Apache-2.0
// Pictures and keypoints as launchers and kernels take them: by value, so that a block reads them from
// constant memory.
#pragma once

#include <cstdint>

namespace pyvision::cuda {

constexpr int kMaxLevels = 32;  // of a picture and its smaller copies

struct Level {
  uint8_t* data = nullptr;  // (h, w)
  int32_t h = 0, w = 0;
  float scale = 1;  // pixels of the picture to one of the level
};

struct Levels {
  int count = 0;
  Level of[kMaxLevels];
};

// The most there is of extent(level): what a grid over all levels has to cover.
template <class Extent>
int64_t most_of(const Levels& levels, Extent extent) {
  int64_t most = 0;
  for (int l = 0; l < levels.count; ++l) most = extent(levels.of[l]) > most ? extent(levels.of[l]) : most;
  return most;
}

// Where keypoints may lie: pixels that are not 0; without data everywhere.
struct Allowed {
  const uint8_t* data = nullptr;  // (h, w)
  int32_t h = 0, w = 0;
};

// Keypoints that are to be described.
struct GivenKeypoints {
  const float* xy = nullptr;                      // (n, 2)
  const float *size = nullptr, *angle = nullptr;  // (n,)
  const int32_t* octave = nullptr;                // (n,), or null: 0
  int64_t n = 0;
};

// N keypoints as columns with room for more, in device memory.
struct KeypointColumns {
  float* xy = nullptr;                                           // (room, 2)
  float *size = nullptr, *angle = nullptr, *response = nullptr;  // (room,)
  int32_t* octave = nullptr;                                     // (room,)
  int32_t* count = nullptr;                                      // (1,)
  int64_t room = 0;
};

}  // namespace pyvision::cuda

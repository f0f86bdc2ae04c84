// SPDX-License-Identifier: Apache-2.0
// The circles of fast.h.
#pragma once

#include <cstdint>

namespace pyvision {

constexpr int64_t kFastBorder = 3;  // pixels beside it are no corners, whatever the circle

struct RingPixel {
  int x, y;
};
// Neighbours on a circle, neighbours in the list.
template <int kCircle>
struct Ring;
template <>
struct Ring<16> {
  static constexpr RingPixel kPixels[] = {{0, 3},  {1, 3},  {2, 2},  {3, 1},   {3, 0},   {3, -1},
                                          {2, -2}, {1, -3}, {0, -3}, {-1, -3}, {-2, -2}, {-3, -1},
                                          {-3, 0}, {-3, 1}, {-2, 2}, {-1, 3}};
};
template <>
struct Ring<12> {
  static constexpr RingPixel kPixels[] = {{0, 2},  {1, 2},   {2, 1},   {2, 0},  {2, -1}, {1, -2},
                                          {0, -2}, {-1, -2}, {-2, -1}, {-2, 0}, {-2, 1}, {-1, 2}};
};
template <>
struct Ring<8> {
  static constexpr RingPixel kPixels[] = {{0, 1},  {1, 1},   {1, 0},  {1, -1},
                                          {0, -1}, {-1, -1}, {-1, 0}, {-1, 1}};
};

}  // namespace pyvision

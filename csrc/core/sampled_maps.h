// SPDX-License-Identifier: Apache-2.0
// The maps that the points of one output sample, as plain data: one entry per point.
#pragma once

#include <cstdint>

namespace pyvision {

// Positions in pixels must be whole numbers in float up to the extents, and fit 32 bits.
constexpr int64_t kMaxSampledExtent = 1 << 24;

template <class T>
struct SampledMaps {
  int64_t points;
  const T *h, *w;         // extents of the point's map, at most kMaxSampledExtent
  const int64_t* origin;  // of its first pixel, in elements
  const int64_t* row;     // elements between its rows
  int64_t pixel;          // elements between neighbours, in every map
};

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// The search of fast.cuh on all levels of a pyramid at once: scores of all pixels, from tiles in shared
// memory; then the corners, in their order.
#pragma once

#include "features/fast.cuh"
#include "features/lists.cuh"

namespace pyvision::cuda {

// The most corners that the levels can have.
int64_t corner_room(const Levels& levels, bool suppress);

inline Chunks pixel_chunks(const Levels& levels) {
  return Chunks(levels.count, [&](int l) { return int64_t{levels.of[l].h} * levels.of[l].w; });
}

// M of fast.h, 0 where it does not exceed the threshold.
struct ScoreMaps {
  uint8_t* of[kMaxLevels] = {};  // (h, w) each

  ScoreMaps(Workspace* workspace, const Levels& levels);
};
void score_corners(const char* op, const Stream& stream, const Levels& levels, int circle, int threshold,
                   const ScoreMaps& maps);

struct CornerSpace {
  ScoreMaps scores;
  Marks marks;
  ItemList corners;  // items: pixels row by row; keys: scores

  CornerSpace(Workspace* workspace, const Levels& levels, bool suppress);
};

// Fills space.corners.
void find_corners(const char* op, const Stream& stream, const Levels& levels, const CornerSearch& search,
                  const CornerSpace& space);

}  // namespace pyvision::cuda

// SPDX-License-Identifier: Apache-2.0
// The search of fast.cuh on all levels of a pyramid at once: scores of all pixels, from tiles in shared
// memory; then the corners, in their order.
#pragma once

#include "features/fast.cuh"
#include "features/lists.cuh"

namespace pyvision::cuda {

// The most corners that the levels can have.
int64_t corner_room(const Levels& levels, bool suppress);

struct CornerSpace {
  uint8_t* scores[kMaxLevels] = {};  // (h, w) each
  Marks marks;
  ItemList corners;  // items: pixels row by row; keys: scores

  CornerSpace(Workspace* workspace, const Levels& levels, bool suppress);
};

// Fills space.corners.
void find_corners(const char* op, const Stream& stream, const Levels& levels, const CornerSearch& search,
                  const CornerSpace& space);

}  // namespace pyvision::cuda

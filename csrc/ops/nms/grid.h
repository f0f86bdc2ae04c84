// SPDX-License-Identifier: Apache-2.0
// The grid that tells non-maximum suppression which kept boxes are near a candidate.
#pragma once

#include <cstdint>

namespace pyvision {

// Kept boxes of one grid cell, as the vectors read them. The first four fields are the box's bounds x1, y1,
// x2, y2; unused places hold zeros.
template <class T, int kFieldCount>
struct alignas(64) NmsBlock {
  static constexpr int kBoxes = 16;  // one AVX-512 register
  static constexpr int kFields = kFieldCount;
  T field[kFields][kBoxes];
  int32_t count;
  int32_t next;  // block index, -1 ends the list
  int32_t last;  // of the list that this block begins
};

// cells_x * cells_y equal cells over the boxes' bounding rectangle. In double: then coordinates of either
// type keep their order.
struct NmsGrid {
  double origin_x = 0, origin_y = 0;  // the least x1 and y1
  double cells_per_unit_x = 0, cells_per_unit_y = 0;
  int32_t cells_x = 1, cells_y = 1;
};

// The kept boxes, in every cell they touch.
template <class Block>
struct NmsKept {
  NmsGrid grid;
  int32_t* heads;  // (cells,): the cell's first block, or -1
  Block* blocks;
  int32_t used = 0;  // blocks
};

// Candidates [begin, end) of boxes, which stand by falling score: clears survives[j] where a kept box
// suppresses j. The others are kept in turn, while `limit` lasts; or none is, where `limit` is null: so
// several threads may ask at once.
template <class T, class Block>
using NmsGreedy = void (*)(const T* boxes, int64_t begin, int64_t end, T threshold, NmsKept<Block>* kept,
                           int64_t* limit, uint8_t* survives);

struct NmsGridPlan {
  NmsGrid grid;
  int64_t blocks;  // enough for every box in every cell it touches, with NmsBlock::kBoxes to a block
};

// boxes: (n, stride), whose first four columns are x1, y1, x2, y2, finite. T: float or double.
template <class T>
NmsGridPlan plan_nms_grid(const T* boxes, int64_t n, int64_t stride);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// Greedy suppression over a grid, for any kind of box. Kept boxes are listed in every cell their bounds
// touch; a candidate looks into the cells of its core only:
//
//     x1      x1 + s w    x2 - s w      x2
//     |-----------|==========|-----------|
//
// The kind's shrink s in [0, 1/2] promises that two boxes which may suppress each other have a point in
// common that lies in the candidate's core.
#pragma once

#include "ops/nms/grid.h"

namespace pyvision::PYVISION_ISA_NS {

// Monotonic in x, which is all that the promise above needs of it.
inline int32_t nms_cell(double x, double origin, double cells_per_unit, int32_t cells) {
  const double cell = (x - origin) * cells_per_unit;  // >= 0: no box begins left of the origin
  return cell < cells - 1 ? static_cast<int32_t>(cell) : cells - 1;
}

// Kind: Value, Block = NmsBlock<Value, ...>;
//   read(j, Value item[kFields]): box j by falling score, false when it overlaps nothing;
//   hits(block, item): whether a box of the block suppresses the item;
//   shrink.
// As NmsGreedy has it.
template <class Kind>
inline void nms_visit(const Kind& kind, int64_t begin, int64_t end, NmsKept<typename Kind::Block>* kept,
                      int64_t* limit, uint8_t* survives) {
  using Block = typename Kind::Block;
  using Value = typename Kind::Value;
  const NmsGrid& grid = kept->grid;
  int32_t* const heads = kept->heads;
  Block* const blocks = kept->blocks;
  const auto column = [&](Value x) {
    return nms_cell(x, grid.origin_x, grid.cells_per_unit_x, grid.cells_x);
  };
  const auto row = [&](Value y) { return nms_cell(y, grid.origin_y, grid.cells_per_unit_y, grid.cells_y); };

  for (int64_t j = begin; j < end; ++j) {
    if (!survives[j]) continue;
    if (limit != nullptr && *limit == 0) {
      survives[j] = 0;
      continue;
    }
    Value item[Block::kFields];
    if (!kind.read(j, item)) {
      if (limit != nullptr) --*limit;
      continue;
    }
    const Value x1 = item[0], y1 = item[1], x2 = item[2], y2 = item[3];
    const Value inset_x = kind.shrink * (x2 - x1), inset_y = kind.shrink * (y2 - y1);
    // Rounding may swap the core's two ends; then both lie in the intersection, and either will do.
    const int32_t core_left = column(x1 + inset_x), core_top = row(y1 + inset_y);
    int32_t core_right = column(x2 - inset_x), core_bottom = row(y2 - inset_y);
    core_right = core_right > core_left ? core_right : core_left;
    core_bottom = core_bottom > core_top ? core_bottom : core_top;
    bool hit = false;
    for (int32_t y = core_top; y <= core_bottom && !hit; ++y)
      for (int32_t x = core_left; x <= core_right && !hit; ++x)
        for (int32_t b = heads[y * grid.cells_x + x]; b >= 0 && !hit; b = blocks[b].next)
          hit = kind.hits(blocks[b], item);
    if (hit) survives[j] = 0;
    if (hit || limit == nullptr) continue;
    --*limit;

    const int32_t left = column(x1), right = column(x2), top = row(y1), bottom = row(y2);
    for (int32_t y = top; y <= bottom; ++y) {
      for (int32_t x = left; x <= right; ++x) {
        // To the end of the list: early boxes, which suppress most, are asked first.
        int32_t& head = heads[y * grid.cells_x + x];
        int32_t last = head < 0 ? -1 : blocks[head].last;
        if (last < 0 || blocks[last].count == Block::kBoxes) {
          Block& fresh = blocks[kept->used];
          for (auto& field : fresh.field)
            for (Value& value : field) value = 0;
          fresh.count = 0;
          fresh.next = -1;
          if (head < 0)
            head = kept->used;
          else
            blocks[last].next = kept->used;
          blocks[head].last = last = kept->used++;
        }
        Block& block = blocks[last];
        for (int k = 0; k < Block::kFields; ++k) block.field[k][block.count] = item[k];
        ++block.count;
      }
    }
  }
}

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
// A candidate is compared with the kept boxes near it. Kept boxes are listed in every grid cell they touch;
// the candidate looks into the cells of its core only:
//
//     x1      x1 + s w    x2 - s w      x2        s = min(threshold, 1/2)
//     |-----------|==========|-----------|
//
// IoU > threshold makes the intersection wider than threshold * w, and an interval inside [x1, x2] that wide
// cannot miss the core. For thresholds from 1/2 the core is the centre: one cell, seldom more than one block.
#include "ops/nms/nms.h"

namespace pyvision::PYVISION_ISA_NS {

struct NmsBox {
  float x1, y1, x2, y2, area;
};

// More than rounding can add to an IoU: the core is kept that much too wide.
constexpr float kCoreSlack = 1e-3f;

// Monotonic in x, which is all that the argument above needs of it.
inline int32_t nms_cell(float x, float origin, float cells_per_unit, int32_t cells) {
  const float cell = (x - origin) * cells_per_unit;  // >= 0: no box begins left of the origin
  return cell < static_cast<float>(cells - 1) ? static_cast<int32_t>(cell) : cells - 1;
}

inline bool nms_hits(const NmsBlock& block, const NmsBox& box, float threshold) {
  const F32 zero = F32::zero();
  for (int i = 0; i < block.count; i += F32::kLanes) {
    const F32 w = max(zero, min(F32::set(box.x2), F32::load(block.x2 + i)) -
                                max(F32::set(box.x1), F32::load(block.x1 + i)));
    const F32 h = max(zero, min(F32::set(box.y2), F32::load(block.y2 + i)) -
                                max(F32::set(box.y1), F32::load(block.y1 + i)));
    const F32 intersection = w * h;
    const F32 united = (F32::set(box.area) + F32::load(block.area + i)) - intersection;
    // I / U > t implies I > t U, hence I >= t U rounded: lanes that fail need no division.
    const Mask candidates = (F32::set(threshold) * united <= intersection) & (zero < intersection);
    if (bits(candidates) != 0 && bits(F32::set(threshold) < intersection / united) != 0) return true;
  }
  return false;
}

inline void nms_append(NmsBlock& block, const NmsBox& box) {
  const int i = block.count++;
  block.x1[i] = box.x1;
  block.y1[i] = box.y1;
  block.x2[i] = box.x2;
  block.y2[i] = box.y2;
  block.area[i] = box.area;
}

inline void nms_greedy(const float* boxes, int64_t n, float threshold, const NmsGrid& grid, int32_t* heads,
                       NmsBlock* blocks, uint8_t* kept) {
  for (int64_t i = 0; i < int64_t{grid.cells_x} * grid.cells_y; ++i) heads[i] = -1;
  int32_t used = 0;
  const auto column = [&](float x) {
    return nms_cell(x, grid.origin_x, grid.cells_per_unit_x, grid.cells_x);
  };
  const auto row = [&](float y) { return nms_cell(y, grid.origin_y, grid.cells_per_unit_y, grid.cells_y); };
  const float limit = (threshold < 0.5f ? threshold : 0.5f) - kCoreSlack;
  const float shrink = limit > 0.0f ? limit : 0.0f;

  for (int64_t j = 0; j < n; ++j) {
    NmsBox box = {boxes[4 * j], boxes[4 * j + 1], boxes[4 * j + 2], boxes[4 * j + 3], 0.0f};
    const float w = box.x2 - box.x1, h = box.y2 - box.y1;
    kept[j] = 1;
    if (!(w > 0.0f && h > 0.0f)) continue;  // IoU 0 with every box
    box.area = w * h;

    // Rounding may swap the core's two ends; then both lie in the intersection, and either will do.
    const int32_t core_left = column(box.x1 + shrink * w), core_top = row(box.y1 + shrink * h);
    int32_t core_right = column(box.x2 - shrink * w), core_bottom = row(box.y2 - shrink * h);
    core_right = core_right > core_left ? core_right : core_left;
    core_bottom = core_bottom > core_top ? core_bottom : core_top;
    bool hit = false;
    for (int32_t y = core_top; y <= core_bottom && !hit; ++y)
      for (int32_t x = core_left; x <= core_right && !hit; ++x)
        for (int32_t b = heads[y * grid.cells_x + x]; b >= 0 && !hit; b = blocks[b].next)
          hit = nms_hits(blocks[b], box, threshold);
    if (hit) {
      kept[j] = 0;
      continue;
    }

    const int32_t left = column(box.x1), right = column(box.x2), top = row(box.y1), bottom = row(box.y2);
    for (int32_t y = top; y <= bottom; ++y) {
      for (int32_t x = left; x <= right; ++x) {
        int32_t& head = heads[y * grid.cells_x + x];
        if (head < 0 || blocks[head].count == NmsBlock::kBoxes) {
          NmsBlock& fresh = blocks[used];
          for (int i = 0; i < NmsBlock::kBoxes; ++i)
            fresh.x1[i] = fresh.y1[i] = fresh.x2[i] = fresh.y2[i] = fresh.area[i] = 0.0f;
          fresh.count = 0;
          fresh.next = head;
          head = used++;
        }
        nms_append(blocks[head], box);
      }
    }
  }
}

const NmsKernels nms = {F32::kIsaName, nms_greedy};

}  // namespace pyvision::PYVISION_ISA_NS

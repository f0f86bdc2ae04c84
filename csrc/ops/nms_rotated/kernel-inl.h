// SPDX-License-Identifier: Apache-2.0
#include "ops/box_iou_rotated/rotated-inl.h"
#include "ops/nms/grid-inl.h"
#include "ops/nms_rotated/nms_rotated.h"

namespace pyvision::PYVISION_ISA_NS {

template <class T>
struct Rotated {
  using Value = T;
  using Block = NmsRotatedBoxes<T>;
  const T* boxes;
  T threshold;
  static constexpr T shrink = 0;  // the intersection may be narrow: the core is all of the bounds

  bool read(int64_t j, T* item) const {
    for (int k = 0; k < Block::kFields; ++k) item[k] = boxes[Block::kFields * j + k];
    return item[Block::kFields - 1] > 0;  // the area
  }

  bool hits(const Block& block, const T* item) const {
    using V = Vec<T>;
    const auto box = load_rotated<T>([&](int field) { return V::set(item[4 + field]); });
    for (int i = 0; i < block.count; i += V::kLanes) {
      const auto others = load_rotated<T>([&](int field) { return V::load(block.field[4 + field] + i); });
      if (bits(V::set(threshold) < rotated_iou(box, others)) != 0) return true;
    }
    return false;
  }
};

template <class T>
inline void nms_rotated_greedy(const T* boxes, int64_t begin, int64_t end, T threshold,
                               NmsKept<NmsRotatedBoxes<T>>* kept, int64_t* limit, uint8_t* survives) {
  nms_visit(Rotated<T>{boxes, threshold}, begin, end, kept, limit, survives);
}

const NmsRotatedKernels nms_rotated = {F32::kIsaName, nms_rotated_greedy<float>, nms_rotated_greedy<double>};

}  // namespace pyvision::PYVISION_ISA_NS

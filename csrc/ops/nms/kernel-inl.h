// SPDX-License-Identifier: Apache-2.0
// IoU > threshold makes the intersection wider than threshold * w, and an interval inside [x1, x2] that wide
// cannot miss the core with s = min(threshold, 1/2). For thresholds from 1/2 the core is the centre: one
// cell, seldom more than one block.
#include "ops/nms/grid-inl.h"
#include "ops/nms/nms.h"
#include "simd/f64-inl.h"

namespace pyvision::PYVISION_ISA_NS {

template <class T>
struct AxisAligned {
  using Value = T;
  using Block = NmsBoxes<T>;
  const T* boxes;
  T threshold, shrink;

  bool read(int64_t j, T* item) const {
    for (int k = 0; k < 4; ++k) item[k] = boxes[4 * j + k];
    const T w = item[2] - item[0], h = item[3] - item[1];
    item[4] = w * h;
    return w > 0 && h > 0;
  }

  bool hits(const Block& block, const T* item) const {
    using V = Vec<T>;
    const V zero = V::zero(), x1 = V::set(item[0]), y1 = V::set(item[1]), x2 = V::set(item[2]),
            y2 = V::set(item[3]), area = V::set(item[4]), limit = V::set(threshold);
    for (int i = 0; i < block.count; i += V::kLanes) {
      const V w = max(zero, min(x2, V::load(block.field[2] + i)) - max(x1, V::load(block.field[0] + i)));
      const V h = max(zero, min(y2, V::load(block.field[3] + i)) - max(y1, V::load(block.field[1] + i)));
      const V intersection = w * h;
      const V united = (area + V::load(block.field[4] + i)) - intersection;
      // I / U > t implies I > t U, hence I >= t U rounded: lanes that fail need no division.
      const auto candidates = (limit * united <= intersection) & (zero < intersection);
      if (bits(candidates) != 0 && bits(limit < intersection / united) != 0) return true;
    }
    return false;
  }
};

template <class T>
inline void nms_greedy(const T* boxes, int64_t begin, int64_t end, T threshold, NmsKept<NmsBoxes<T>>* kept,
                       int64_t* limit, uint8_t* survives) {
  constexpr T kCoreSlack =
      T(1e-3);  // more than rounding can add to an IoU: the core is kept that much too wide
  const T shrink = (threshold < T{0.5} ? threshold : T{0.5}) - kCoreSlack;
  const AxisAligned<T> kind = {boxes, threshold, shrink > 0 ? shrink : 0};
  nms_visit(kind, begin, end, kept, limit, survives);
}

const NmsKernels nms = {F32::kIsaName, nms_greedy<float>, nms_greedy<double>};

}  // namespace pyvision::PYVISION_ISA_NS

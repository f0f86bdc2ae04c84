// SPDX-License-Identifier: Apache-2.0
#include "ops/nms/nms.h"

#include <algorithm>
#include <type_traits>

#include "ops/boxes/geometry.h"

namespace pyvision {
namespace {

// boxes: (size, 4) by falling score
template <class T>
void greedy(const T* boxes, int64_t size, double threshold, int64_t limit, uint8_t* survives) {
  const NmsGridPlan plan = plan_nms_grid(boxes, size, 4);
  Scratch<int32_t> heads(int64_t{plan.grid.cells_x} * plan.grid.cells_y);
  Scratch<NmsBoxes<T>> blocks(plan.blocks);
  nms_greedy_kernel<T>()(boxes, size, nms_limit(T{}, threshold), limit, plan.grid, heads, blocks, survives);
}

}  // namespace

template <class T>
int64_t nms(const T* boxes, const T* scores, int64_t n, const NmsGroups& groups, double threshold,
            int64_t* keep) {
  return suppress(
      scores, n, groups, [&](int64_t i) { return finite_box(boxes + 4 * i); },
      [&](const uint32_t* indices, int64_t size, int64_t limit, uint8_t* survives) {
        Scratch<T> sorted(4 * size);
        for (int64_t i = 0; i < size; ++i) std::copy_n(boxes + 4 * int64_t{indices[i]}, 4, sorted + 4 * i);
        if constexpr (std::is_same_v<T, float>) {
          if (!areas_fit_f32(sorted, size)) {
            Scratch<double> wide(4 * size);
            std::copy_n(sorted.get(), 4 * size, wide.get());
            return greedy<double>(wide, size, threshold, limit, survives);
          }
        }
        greedy<T>(sorted, size, threshold, limit, survives);
      },
      keep);
}

template int64_t nms<float>(const float*, const float*, int64_t, const NmsGroups&, double, int64_t*);
template int64_t nms<double>(const double*, const double*, int64_t, const NmsGroups&, double, int64_t*);

}  // namespace pyvision

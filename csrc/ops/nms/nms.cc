// SPDX-License-Identifier: Apache-2.0
#include "ops/nms/nms.h"

#include <algorithm>
#include <type_traits>

#include "ops/boxes/geometry.h"
#include "ops/nms/over_grid.h"

namespace pyvision {
namespace {

// boxes: (size, 4) by falling score
template <class T>
void greedy(const T* boxes, int64_t size, double threshold, int64_t limit, uint8_t* survives) {
  const T limited = nms_limit(T{}, threshold);
  if constexpr (std::is_same_v<T, float>)
    nms_over_grid(nms_kernels().greedy_f32, boxes, size, 4, limited, limit, survives);
  else
    nms_over_grid(nms_kernels().greedy_f64, boxes, size, 4, limited, limit, survives);
}

}  // namespace

template <class T>
int64_t nms(const T* boxes, const T* scores, int64_t n, const NmsGroups& groups, double threshold,
            int64_t* keep) {
  return suppress(
      scores, n, groups, [&](int64_t i) { return finite_box(boxes + 4 * i); },
      [&](const uint32_t* indices, int64_t size, int64_t limit, uint8_t* survives) {
        Scratch<T> sorted(4 * size);
        parallel_for(size, 4096, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            std::copy_n(boxes + 4 * int64_t{indices[i]}, 4, sorted + 4 * i);
        });
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

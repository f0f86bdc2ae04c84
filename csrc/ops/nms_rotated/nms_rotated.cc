// SPDX-License-Identifier: Apache-2.0
#include "ops/nms_rotated/nms_rotated.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "ops/nms/over_grid.h"

namespace pyvision {
namespace {

template <class T>
auto kernel_of() {
  if constexpr (std::is_same_v<T, float>)
    return nms_rotated_kernels().greedy_f32;
  else
    return nms_rotated_kernels().greedy_f64;
}

// The item of one box: bounds somewhat wider than the box, so that boxes which overlap by rounding alone
// meet in a cell, then its fields.
template <class T>
void prepare(const T* box, T* item) {
  T* fields = item + 4;
  describe_rotated(box, fields);
  const T c = std::fabs(fields[4]), s = std::fabs(fields[5]);
  const auto widen = [](T centre, T extent) {
    return extent + 8 * std::numeric_limits<T>::epsilon() * (std::fabs(centre) + extent);
  };
  const T x = widen(fields[0], fields[2] * c + fields[3] * s);
  const T y = widen(fields[1], fields[2] * s + fields[3] * c);
  item[0] = fields[0] - x;
  item[1] = fields[1] - y;
  item[2] = fields[0] + x;
  item[3] = fields[1] + y;
}

// boxes: (n, 5) of type From, computed in T; indices: (size,) by falling score
template <class T, class From>
void greedy(const From* boxes, const uint32_t* indices, int64_t size, double threshold, int64_t limit,
            uint8_t* survives) {
  constexpr int kFields = NmsRotatedBoxes<T>::kFields;
  Scratch<T> items(kFields * size);
  for (int64_t i = 0; i < size; ++i) {
    T box[5];
    std::copy_n(boxes + 5 * int64_t{indices[i]}, 5, box);
    prepare(box, items + kFields * i);
  }
  nms_over_grid(kernel_of<T>(), items.get(), size, kFields, nms_limit(T{}, threshold), limit, survives);
}

}  // namespace

template <class T>
int64_t nms_rotated(const T* boxes, const T* scores, int64_t n, const NmsGroups& groups, double threshold,
                    int64_t* keep) {
  const auto finite = [&](int64_t i) {
    return std::all_of(boxes + 5 * i, boxes + 5 * i + 5, [](T value) { return std::isfinite(value); });
  };
  bool wide = false;
  if constexpr (std::is_same_v<T, float>)
    for (int64_t i = 0; i < n && !wide; ++i) wide = finite(i) && !rotated_fit_f32(boxes + 5 * i, 1);
  return suppress(
      scores, n, groups, finite,
      [&](const uint32_t* indices, int64_t size, int64_t limit, uint8_t* survives) {
        if (wide)
          greedy<double>(boxes, indices, size, threshold, limit, survives);
        else
          greedy<T>(boxes, indices, size, threshold, limit, survives);
      },
      keep);
}

template int64_t nms_rotated<float>(const float*, const float*, int64_t, const NmsGroups&, double, int64_t*);
template int64_t nms_rotated<double>(const double*, const double*, int64_t, const NmsGroups&, double,
                                     int64_t*);

}  // namespace pyvision

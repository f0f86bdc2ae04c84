// SPDX-License-Identifier: Apache-2.0
#include "ops/box_iou_rotated/rotated-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

template <bool kMatched, class T>
inline void rotated_overlaps(const RotatedColumns<T>& a, const RotatedColumns<T>& b, T* y, int64_t m) {
  const auto first = load_rotated<T>([&](int field) { return Vec<T>::set(*a.field[field]); });
  for_each_vector<T>(m, [&](int64_t j, int lanes) {
    const auto load = [&](const RotatedColumns<T>& boxes) {
      return load_rotated<T>([&](int field) { return load_lanes(boxes.field[field] + j, lanes); });
    };
    store_lanes(rotated_iou(kMatched ? load(a) : first, load(b)), y + j, lanes);
  });
}

const BoxIouRotatedKernels box_iou_rotated = {
    F32::kIsaName,
    {rotated_overlaps<false, float>, rotated_overlaps<true, float>},
    {rotated_overlaps<false, double>, rotated_overlaps<true, double>}};

}  // namespace pyvision::PYVISION_ISA_NS

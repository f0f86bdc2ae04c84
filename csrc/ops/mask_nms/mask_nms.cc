// SPDX-License-Identifier: Apache-2.0
#include "ops/mask_nms/mask_nms.h"

#include <algorithm>

#include "ops/mask_nms/packed_masks.h"

namespace pyvision {

template <class T>
int64_t mask_nms(const uint8_t* masks, int64_t pixels, const T* scores, int64_t n, const NmsGroups& groups,
                 double threshold, int64_t* keep) {
  const PackedMasks packed(masks, n, pixels);
  const auto greedy = [&](const uint32_t* indices, int64_t size, int64_t limit, uint8_t* survives) {
    Scratch<uint32_t> kept(size);
    int64_t count = 0;
    for (int64_t i = 0; i < size; ++i) {
      const auto suppressed_by = [&](uint32_t k) {
        const auto [less, more] = std::minmax({packed.area(k), packed.area(indices[i])});
        return static_cast<double>(less) > threshold * static_cast<double>(more) &&  // else no IoU is so high
               packed.iou(k, indices[i]) > threshold;
      };
      survives[i] = count < limit && std::none_of(kept.get(), kept + count, suppressed_by);
      if (survives[i]) kept[count++] = indices[i];
    }
  };
  return suppress(scores, n, groups, [](int64_t) { return true; }, greedy, keep);
}

template int64_t mask_nms<float>(const uint8_t*, int64_t, const float*, int64_t, const NmsGroups&, double,
                                 int64_t*);
template int64_t mask_nms<double>(const uint8_t*, int64_t, const double*, int64_t, const NmsGroups&, double,
                                  int64_t*);

}  // namespace pyvision

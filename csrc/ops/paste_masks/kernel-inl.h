// SPDX-License-Identifier: Apache-2.0
#include "ops/paste_masks/paste_masks.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

inline void widen(const float* row, const PasteTap* taps, float* y, int64_t n) {
  for (int64_t x = 0; x < n; ++x) {
    const float* left = row + taps[x].index;
    y[x] = (1.0f - taps[x].weight) * left[0] + taps[x].weight * left[1];
  }
}

// store(x, lanes, value) for the vectors of a row
template <class Store>
[[gnu::always_inline]] inline void blend_rows(const float* top, const float* bottom, float weight, int64_t n,
                                              Store store) {
  const F32 low = F32::set(weight), high = F32::set(1.0f - weight);
  for_each_vector<float>(n, [=](int64_t x, int lanes) {
    store(x, lanes, high * load_lanes(top + x, lanes) + low * load_lanes(bottom + x, lanes));
  });
}

inline void blend(const float* top, const float* bottom, float weight, float* y, int64_t n) {
  blend_rows(top, bottom, weight, n,
             [=](int64_t x, int lanes, F32 value) { store_lanes(value, y + x, lanes); });
}

inline void blend_above(const float* top, const float* bottom, float weight, float threshold, uint8_t* y,
                        int64_t n) {
  const F32 limit = F32::set(threshold), one = bits_as_f32(I32::set(1));
  blend_rows(top, bottom, weight, n, [=](int64_t x, int lanes, F32 value) {
    const I32 above = bits_as_i32(select(limit < value, one, F32::zero()));
    if (lanes == F32::kLanes)
      above.store_u8(y + x);
    else
      above.store_u8_n(y + x, lanes);
  });
}

const PasteMasksKernels paste_masks = {F32::kIsaName, widen, blend, blend_above};

}  // namespace pyvision::PYVISION_ISA_NS

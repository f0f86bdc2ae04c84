// SPDX-License-Identifier: Apache-2.0
#include "ops/interpolate/interpolate.h"
#include "simd/channels-inl.h"

namespace pyvision::PYVISION_ISA_NS {

template <bool kAdd>
inline void nearest_pixels(const float* row, const InterpolateColumn* columns, const float* addend,
                           int64_t addend_step, float* y, int64_t y_step, int64_t count, int64_t channels) {
  with_channel_blocks(channels, [=](auto each) {
    for (int64_t p = 0; p < count; ++p) {
      each([=](auto block, int64_t c) {
        const float* from = row + columns[p].left + c;
        const float* add = kAdd ? addend + p * addend_step + c : nullptr;
        for (int v = 0; v < block.kVecs; ++v) {
          const F32 value = block.load(from, v);
          block.store(kAdd ? value + block.load(add, v) : value, y + p * y_step + c, v);
        }
      });
    }
  });
}

template <bool kAdd>
inline void bilinear_pixels(const float* top, const float* bottom, float weight,
                            const InterpolateColumn* columns, const float* addend, int64_t addend_step,
                            float* y, int64_t y_step, int64_t count, int64_t channels) {
  with_channel_blocks(channels, [=](auto each) {
    for (int64_t p = 0; p < count; ++p) {
      const InterpolateColumn column = columns[p];
      const F32 right = F32::set(column.weight), left = F32::set(1.0f - column.weight);
      const F32 low = F32::set(weight), high = F32::set(1.0f - weight);
      each([=](auto block, int64_t c) {
        const float *a = top + column.left + c, *b = top + column.right + c;
        const float *d = bottom + column.left + c, *e = bottom + column.right + c;
        const float* add = kAdd ? addend + p * addend_step + c : nullptr;
        for (int v = 0; v < block.kVecs; ++v) {
          const F32 above = fma(block.load(b, v), right, block.load(a, v) * left);
          const F32 below = fma(block.load(e, v), right, block.load(d, v) * left);
          const F32 value = fma(below, low, above * high);
          block.store(kAdd ? value + block.load(add, v) : value, y + p * y_step + c, v);
        }
      });
    }
  });
}

inline void nearest_row(const float* row, const InterpolateColumn* columns, const float* addend,
                        int64_t addend_step, float* y, int64_t y_step, int64_t count, int64_t channels) {
  if (addend != nullptr)
    nearest_pixels<true>(row, columns, addend, addend_step, y, y_step, count, channels);
  else
    nearest_pixels<false>(row, columns, addend, addend_step, y, y_step, count, channels);
}

inline void bilinear_row(const float* top, const float* bottom, float weight,
                         const InterpolateColumn* columns, const float* addend, int64_t addend_step, float* y,
                         int64_t y_step, int64_t count, int64_t channels) {
  if (addend != nullptr)
    bilinear_pixels<true>(top, bottom, weight, columns, addend, addend_step, y, y_step, count, channels);
  else
    bilinear_pixels<false>(top, bottom, weight, columns, addend, addend_step, y, y_step, count, channels);
}

const InterpolateKernels interpolate = {F32::kIsaName, nearest_row, bilinear_row};

}  // namespace pyvision::PYVISION_ISA_NS

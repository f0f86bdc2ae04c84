// SPDX-License-Identifier: Apache-2.0
#include "ops/interpolate/interpolate.h"
#include "simd/channels-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Below this a vector is mostly padding, and plain arithmetic is quicker.
constexpr int64_t kFewChannels = 4;

inline F32 blend(F32 a, F32 b, F32 weight_a, F32 weight_b) { return fma(b, weight_b, a * weight_a); }

inline void blend_rows(const float* top, const float* bottom, float weight, int64_t x_step, float* row,
                       int64_t count, int64_t channels) {
  if (x_step == channels) {
    channels *= count;
    count = 1;
  }
  const F32 high = F32::set(1.0f - weight), low = F32::set(weight);
  with_channel_blocks(channels, [=](auto each) {
    for (int64_t p = 0; p < count; ++p) {
      each([=](auto block, int64_t c) {
        const float *a = top + p * x_step + c, *b = bottom + p * x_step + c;
        for (int v = 0; v < block.kVecs; ++v)
          block.store(blend(block.load(a, v), block.load(b, v), high, low), row + p * channels + c, v);
      });
    }
  });
}

// kLinear: both neighbours by weight, else the left one.
template <bool kLinear, bool kAdd>
inline void resample_few_channels(const float* row, const InterpolateColumn* columns, const float* addend,
                                  int64_t addend_step, float* y, int64_t y_step, int64_t count,
                                  int64_t channels) {
  for (int64_t p = 0; p < count; ++p) {
    const InterpolateColumn column = columns[p];
    for (int64_t c = 0; c < channels; ++c) {
      float value = row[column.left + c];
      if (kLinear) value = value * (1.0f - column.weight) + row[column.right + c] * column.weight;
      y[p * y_step + c] = kAdd ? value + addend[p * addend_step + c] : value;
    }
  }
}

template <bool kLinear, bool kAdd>
inline void resample_pixels(const float* row, const InterpolateColumn* columns, const float* addend,
                            int64_t addend_step, float* y, int64_t y_step, int64_t count, int64_t channels) {
  if (channels <= kFewChannels)
    return resample_few_channels<kLinear, kAdd>(row, columns, addend, addend_step, y, y_step, count,
                                                channels);
  with_channel_blocks(channels, [=](auto each) {
    for (int64_t p = 0; p < count; ++p) {
      const InterpolateColumn column = columns[p];
      const F32 left = F32::set(1.0f - column.weight), right = F32::set(column.weight);
      each([=](auto block, int64_t c) {
        const float *a = row + column.left + c, *b = row + column.right + c;
        const float* add = kAdd ? addend + p * addend_step + c : nullptr;
        for (int v = 0; v < block.kVecs; ++v) {
          F32 value = block.load(a, v);
          if (kLinear) value = blend(value, block.load(b, v), left, right);
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
          const F32 above = blend(block.load(a, v), block.load(b, v), left, right);
          const F32 below = blend(block.load(d, v), block.load(e, v), left, right);
          const F32 value = blend(above, below, high, low);
          block.store(kAdd ? value + block.load(add, v) : value, y + p * y_step + c, v);
        }
      });
    }
  });
}

template <bool kLinear>
inline void resample_row(const float* row, const InterpolateColumn* columns, const float* addend,
                         int64_t addend_step, float* y, int64_t y_step, int64_t count, int64_t channels) {
  if (addend != nullptr)
    resample_pixels<kLinear, true>(row, columns, addend, addend_step, y, y_step, count, channels);
  else
    resample_pixels<kLinear, false>(row, columns, addend, addend_step, y, y_step, count, channels);
}

inline void bilinear_row(const float* top, const float* bottom, float weight,
                         const InterpolateColumn* columns, const float* addend, int64_t addend_step, float* y,
                         int64_t y_step, int64_t count, int64_t channels) {
  if (addend != nullptr)
    bilinear_pixels<true>(top, bottom, weight, columns, addend, addend_step, y, y_step, count, channels);
  else
    bilinear_pixels<false>(top, bottom, weight, columns, addend, addend_step, y, y_step, count, channels);
}

inline void sum_rows(const float* x, const int64_t* index, const float* weight, int64_t taps,
                     int64_t stride_h, int64_t stride_w, float* row, int64_t count, int64_t channels) {
  if (stride_w == channels) {
    channels *= count;
    count = 1;
  }
  with_channel_blocks(channels, [=](auto each) {
    for (int64_t p = 0; p < count; ++p) {
      each([=](auto block, int64_t c) {
        F32 sums[block.kVecs];
        for (F32& sum : sums) sum = F32::zero();
        for (int64_t k = 0; k < taps; ++k) {
          const float* const from = x + index[k] * stride_h + p * stride_w + c;
          const F32 w = F32::set(weight[k]);
          for (int v = 0; v < block.kVecs; ++v) sums[v] = fma(block.load(from, v), w, sums[v]);
        }
        for (int v = 0; v < block.kVecs; ++v) block.store(sums[v], row + p * channels + c, v);
      });
    }
  });
}

template <bool kAdd>
inline void sum_few_channels(const float* row, const int64_t* first, const int64_t* index,
                             const float* weight, const float* addend, int64_t addend_step, float* y,
                             int64_t y_step, int64_t count, int64_t channels) {
  for (int64_t p = 0; p < count; ++p) {
    float sums[kFewChannels] = {};
    for (int64_t k = first[p]; k < first[p + 1]; ++k)
      for (int64_t c = 0; c < channels; ++c) sums[c] += weight[k] * row[index[k] * channels + c];
    for (int64_t c = 0; c < channels; ++c)
      y[p * y_step + c] = kAdd ? sums[c] + addend[p * addend_step + c] : sums[c];
  }
}

template <bool kAdd>
inline void sum_pixels_of(const float* row, const int64_t* first, const int64_t* index, const float* weight,
                          const float* addend, int64_t addend_step, float* y, int64_t y_step, int64_t count,
                          int64_t channels) {
  if (channels <= kFewChannels)
    return sum_few_channels<kAdd>(row, first, index, weight, addend, addend_step, y, y_step, count, channels);
  with_channel_blocks(channels, [=](auto each) {
    for (int64_t p = 0; p < count; ++p) {
      each([=](auto block, int64_t c) {
        F32 sums[block.kVecs];
        for (F32& sum : sums) sum = F32::zero();
        for (int64_t k = first[p]; k < first[p + 1]; ++k) {
          const F32 w = F32::set(weight[k]);
          for (int v = 0; v < block.kVecs; ++v)
            sums[v] = fma(block.load(row + index[k] * channels + c, v), w, sums[v]);
        }
        const float* add = kAdd ? addend + p * addend_step + c : nullptr;
        for (int v = 0; v < block.kVecs; ++v)
          block.store(kAdd ? sums[v] + block.load(add, v) : sums[v], y + p * y_step + c, v);
      });
    }
  });
}

inline void sum_pixels(const float* row, const int64_t* first, const int64_t* index, const float* weight,
                       const float* addend, int64_t addend_step, float* y, int64_t y_step, int64_t count,
                       int64_t channels) {
  (addend != nullptr ? sum_pixels_of<true> : sum_pixels_of<false>)(row, first, index, weight, addend,
                                                                   addend_step, y, y_step, count, channels);
}

const InterpolateKernels interpolate = {
    F32::kIsaName, resample_row<false>, blend_rows, resample_row<true>, bilinear_row, sum_rows, sum_pixels};

}  // namespace pyvision::PYVISION_ISA_NS

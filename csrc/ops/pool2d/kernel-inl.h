// SPDX-License-Identifier: Apache-2.0
#include "ops/pool2d/pool2d.h"
#include "simd/channels-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// max drops a NaN tap, so NaNs are looked for on the side.
template <class Block>
inline void max_of_window(const Block& block, const PoolWindow& window, const float* x, float* y) {
  F32 peak[Block::kVecs];
  Mask nan[Block::kVecs];
  for (int v = 0; v < Block::kVecs; ++v) {
    peak[v] = block.load(x, v);
    nan[v] = is_nan(peak[v]);
  }
  for (int64_t r = 0; r < window.rows; ++r) {
    const float* tap = x + r * window.row_stride;
    for (int64_t k = 0; k < window.cols; ++k, tap += window.col_stride) {
      for (int v = 0; v < Block::kVecs; ++v) {
        const F32 value = block.load(tap, v);
        nan[v] = nan[v] | is_nan(value);
        peak[v] = max(value, peak[v]);
      }
    }
  }
  for (int v = 0; v < Block::kVecs; ++v)
    block.store(select(nan[v], F32::set(__builtin_nanf("")), peak[v]), y, v);
}

inline void max_row(const PoolWindow& window, const float* x, int64_t x_step, float* y, int64_t y_step,
                    int64_t count, int64_t channels) {
  with_channel_blocks(channels, [=, &window](auto each) {
    for (int64_t p = 0; p < count; ++p) {
      each([=, &window](auto block, int64_t c) {
        max_of_window(block, window, x + p * x_step + c, y + p * y_step + c);
      });
    }
  });
}

template <class Block>
inline void max_tap_of_window(const Block& block, const PoolWindow& window, const float* x, float* y,
                              int32_t* taps) {
  F32 peak[Block::kVecs], chosen[Block::kVecs];  // the latter hold integers' bits
  for (int v = 0; v < Block::kVecs; ++v) {
    peak[v] = F32::set(-__builtin_inff());
    chosen[v] = F32::zero();
  }
  for (int64_t r = 0; r < window.rows; ++r) {
    for (int64_t k = 0; k < window.cols; ++k) {
      const F32 number = bits_as_f32(I32::set(static_cast<int32_t>(r * window.cols + k)));
      const float* tap = x + r * window.row_stride + k * window.col_stride;
      for (int v = 0; v < Block::kVecs; ++v) {
        const F32 value = block.load(tap, v);
        const Mask better = (peak[v] < value) | is_nan(value);
        peak[v] = select(better, value, peak[v]);
        chosen[v] = select(better, number, chosen[v]);
      }
    }
  }
  for (int v = 0; v < Block::kVecs; ++v) {
    block.store(peak[v], y, v);
    block.store(chosen[v], reinterpret_cast<float*>(taps), v);
  }
}

inline void max_with_taps_row(const PoolWindow& window, const float* x, int64_t x_step, float* y,
                              int64_t y_step, int32_t* taps, int64_t count, int64_t channels) {
  with_channel_blocks(channels, [=, &window](auto each) {
    for (int64_t p = 0; p < count; ++p) {
      each([=, &window](auto block, int64_t c) {
        max_tap_of_window(block, window, x + p * x_step + c, y + p * y_step + c, taps + p * channels + c);
      });
    }
  });
}

// kChains independent sums per vector, taken in turn along a row.
template <int kChains, class Block>
inline void average_of_window(const Block& block, const PoolWindow& window, const float* x, float* y,
                              float divisor) {
  F32 sum[kChains][Block::kVecs];
  for (auto& chain : sum)
    for (F32& s : chain) s = F32::zero();
  for (int64_t r = 0; r < window.rows; ++r) {
    const float* tap = x + r * window.row_stride;
    int64_t k = 0;
    for (; k + kChains <= window.cols; k += kChains) {
      for (int i = 0; i < kChains; ++i, tap += window.col_stride)
        for (int v = 0; v < Block::kVecs; ++v) sum[i][v] = sum[i][v] + block.load(tap, v);
    }
    for (; k < window.cols; ++k, tap += window.col_stride)
      for (int v = 0; v < Block::kVecs; ++v) sum[0][v] = sum[0][v] + block.load(tap, v);
  }
  for (int v = 0; v < Block::kVecs; ++v) {
    for (int i = 1; i < kChains; ++i) sum[0][v] = sum[0][v] + sum[i][v];
    block.store(sum[0][v] / F32::set(divisor), y, v);
  }
}

template <int kChains>
inline void average_pixels(const PoolWindow& window, const float* x, int64_t x_step, float* y, int64_t y_step,
                           int64_t count, int64_t channels, float divisor) {
  with_channel_blocks(channels, [=, &window](auto each) {
    for (int64_t p = 0; p < count; ++p) {
      each([=, &window](auto block, int64_t c) {
        average_of_window<kChains>(block, window, x + p * x_step + c, y + p * y_step + c, divisor);
      });
    }
  });
}

inline void average_row(const PoolWindow& window, const float* x, int64_t x_step, float* y, int64_t y_step,
                        int64_t count, int64_t channels, float divisor) {
  if (window.cols < 16)  // small windows: neighbouring pixels overlap in the pipeline by themselves
    average_pixels<1>(window, x, x_step, y, y_step, count, channels, divisor);
  else
    average_pixels<4>(window, x, x_step, y, y_step, count, channels, divisor);
}

const Pool2dKernels pool2d = {F32::kIsaName, max_row, max_with_taps_row, average_row};

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
#include "ops/elementwise/elementwise.h"
#include "simd/activation-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// y = op(rows...) for every channel of every pixel.
template <class Op, class... Rows>
inline void map_pixels(Op op, PixelRow<float> y, int64_t count, int64_t channels, Rows... rows) {
  for (int64_t p = 0; p < count; ++p) {
    float* out = y.data + p * y.step;
    int64_t c = 0;
    for (; c + F32::kLanes <= channels; c += F32::kLanes)
      op(F32::load(rows.data + p * rows.step + c)...).store(out + c);
    if (c == channels) continue;
    const int tail = static_cast<int>(channels - c);
    op(F32::load_n(rows.data + p * rows.step + c, tail)...).store_n(out + c, tail);
  }
}

inline void activate_row(const ActivationParams& params, ConstRow x, PixelRow<float> y, int64_t count,
                         int64_t channels) {
  with_activation(params, [=](auto f) { map_pixels(f, y, count, channels, x); });
}

inline void add_row(const ActivationParams& params, ConstRow a, ConstRow b, PixelRow<float> y, int64_t count,
                    int64_t channels) {
  with_activation(
      params, [=](auto f) { map_pixels([f](F32 u, F32 v) { return f(u + v); }, y, count, channels, a, b); });
}

inline void mul_row(const ActivationParams& params, ConstRow a, ConstRow b, PixelRow<float> y, int64_t count,
                    int64_t channels) {
  with_activation(
      params, [=](auto f) { map_pixels([f](F32 u, F32 v) { return f(u * v); }, y, count, channels, a, b); });
}

inline void mul_add_row(const ActivationParams& params, ConstRow a, ConstRow b, ConstRow c, PixelRow<float> y,
                        int64_t count, int64_t channels) {
  with_activation(params, [=](auto f) {
    map_pixels([f](F32 u, F32 v, F32 w) { return f(fma(u, v, w)); }, y, count, channels, a, b, c);
  });
}

const ElementwiseKernels elementwise = {F32::kIsaName, activate_row, add_row, mul_row, mul_add_row};

}  // namespace pyvision::PYVISION_ISA_NS

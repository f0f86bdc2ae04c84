// SPDX-License-Identifier: Apache-2.0
#include "ops/softmax/softmax.h"
#include "simd/math-inl.h"

namespace pyvision::PYVISION_ISA_NS {

inline void softmax_row(const float* x, float* y, int64_t axis) {
  constexpr int kLanes = F32::kLanes;
  const int64_t body = axis / kLanes * kLanes;
  const int tail = static_cast<int>(axis - body);

  F32 peak_lanes = F32::set(x[0]);
  for (int64_t i = 0; i < body; i += kLanes) peak_lanes = max(peak_lanes, F32::load(x + i));
  float peak = reduce_max(peak_lanes);
  for (int64_t i = body; i < axis; ++i) peak = x[i] > peak ? x[i] : peak;

  F32 sum_lanes = F32::zero();
  for (int64_t i = 0; i < body; i += kLanes) {
    const F32 e = exp(F32::load(x + i) - F32::set(peak));
    e.store(y + i);
    sum_lanes = sum_lanes + e;
  }
  float sum = 0.0f;
  if (tail > 0) {
    exp(F32::load_n(x + body, tail) - F32::set(peak)).store_n(y + body, tail);
    for (int64_t i = body; i < axis; ++i) sum += y[i];
  }
  sum += reduce_add(sum_lanes);

  const F32 scale = F32::set(1.0f / sum);
  for (int64_t i = 0; i < body; i += kLanes) (F32::load(y + i) * scale).store(y + i);
  if (tail > 0) (F32::load_n(y + body, tail) * scale).store_n(y + body, tail);
}

// Lanes are neighbours along `inner`; each lane walks down its own column.
inline void softmax_columns(const float* x, float* y, int64_t axis, int64_t inner) {
  for (int64_t k = 0; k < inner; k += F32::kLanes) {
    const int lanes = static_cast<int>(inner - k < F32::kLanes ? inner - k : F32::kLanes);
    F32 peak = F32::load_n(x + k, lanes);
    for (int64_t j = 1; j < axis; ++j) peak = max(peak, F32::load_n(x + j * inner + k, lanes));
    F32 sum = F32::zero();
    for (int64_t j = 0; j < axis; ++j) {
      const F32 e = exp(F32::load_n(x + j * inner + k, lanes) - peak);
      e.store_n(y + j * inner + k, lanes);
      sum = sum + e;
    }
    const F32 scale = F32::set(1.0f) / sum;
    for (int64_t j = 0; j < axis; ++j)
      (F32::load_n(y + j * inner + k, lanes) * scale).store_n(y + j * inner + k, lanes);
  }
}

const SoftmaxKernels softmax = {F32::kIsaName, softmax_row, softmax_columns};

}  // namespace pyvision::PYVISION_ISA_NS

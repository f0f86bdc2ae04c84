// SPDX-License-Identifier: Apache-2.0
#include "ops/corners/corners.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Products and sums are rounded one by one, never fused: every ISA gives the same bits.

inline void products(const float* above, const float* row, const float* below, int64_t n, float* xx,
                     float* xy, float* yy) {
  const F32 two = F32::set(2.0f);
  for_each_vector<float>(n, [&](int64_t x, int lanes) {
    const auto at = [=](const float* p, int64_t dx) { return load_lanes(p + x + dx, lanes); };
    const F32 a = at(above, -1), b = at(above, 1), c = at(below, -1), d = at(below, 1);
    const F32 dx = two * (at(row, 1) - at(row, -1)) + ((b - a) + (d - c));
    const F32 dy = two * (at(below, 0) - at(above, 0)) + ((c - a) + (d - b));
    store_lanes(dx * dx, xx + x, lanes);
    store_lanes(dx * dy, xy + x, lanes);
    store_lanes(dy * dy, yy + x, lanes);
  });
}

inline void sum_rows(const float* const* rows, int64_t count, int64_t n, float* y) {
  for_each_vector<float>(n, [&](int64_t x, int lanes) {
    F32 sum = load_lanes(rows[0] + x, lanes);
    for (int64_t i = 1; i < count; ++i) sum = sum + load_lanes(rows[i] + x, lanes);
    store_lanes(sum, y + x, lanes);
  });
}

inline float respond(const float* xx, const float* xy, const float* yy, int64_t block, float scale,
                     const float* harris, int64_t n, float* y) {
  const F32 unit = F32::set(scale), k = F32::set(harris != nullptr ? *harris : 0.0f), half = F32::set(0.5f);
  F32 greatest = F32::set(-3.4e38f);
  for_each_vector<float>(n, [&](int64_t x, int lanes) {
    F32 a = load_lanes(xx + x, lanes), b = load_lanes(xy + x, lanes), c = load_lanes(yy + x, lanes);
    for (int64_t i = 1; i < block; ++i) {
      a = a + load_lanes(xx + x + i, lanes);
      b = b + load_lanes(xy + x + i, lanes);
      c = c + load_lanes(yy + x + i, lanes);
    }
    a = a * unit, b = b * unit, c = c * unit;
    const F32 difference = half * (a - c);
    const F32 response = harris != nullptr ? (a * c - b * b) - k * ((a + c) * (a + c))
                                           : half * (a + c) - sqrt(difference * difference + b * b);
    store_lanes(response, y + x, lanes);
    greatest = max(greatest, select(F32::iota() < F32::set(static_cast<float>(lanes)), response, greatest));
  });
  return reduce_max(greatest);
}

inline int64_t maxima(const float* above, const float* row, const float* below, int64_t n, int32_t* columns) {
  int64_t count = 0;
  for_each_vector<float>(n - 2, [&](int64_t i, int lanes) {
    const int64_t x = i + 1;
    const F32 v = load_lanes(row + x, lanes);
    auto is_top = F32::zero() < v;
    const auto compare = [&](const float* p, int64_t dx) {
      is_top = is_top & (load_lanes(p + x + dx, lanes) <= v);
    };
    compare(row, -1), compare(row, 1);
    for (int64_t dx = -1; dx <= 1; ++dx) compare(above, dx), compare(below, dx);
    for (uint64_t found = bits(is_top) & ((uint64_t{1} << lanes) - 1); found != 0; found &= found - 1)
      columns[count++] = static_cast<int32_t>(x + __builtin_ctzll(found));
  });
  return count;
}

const CornersKernels corners = {F32::kIsaName, products, sum_rows, respond, maxima};

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
#include <type_traits>

#include "ops/sift/sift.h"
#include "simd/direction-inl.h"
#include "simd/lanes-inl.h"
#include "simd/math-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Calls body(x, lanes, kVecs) for the vectors that cover [0, n): in blocks of kVecs, the last of them again
// from where it is whole, because a single vector's sums wait for each other; one by one where there is no
// whole block.
template <int kVecs, class Body>
[[gnu::always_inline]] inline void for_each_block(int64_t n, Body body) {
  constexpr int64_t kBlock = kVecs * F32::kLanes;
  using Block = std::integral_constant<int, kVecs>;
  int64_t x = 0;
  for (; x + kBlock <= n; x += kBlock) body(x, F32::kLanes, Block{});
  if (x == n) return;
  if (kBlock <= n) return body(n - kBlock, F32::kLanes, Block{});
  for (; x < n; x += F32::kLanes)
    body(x, static_cast<int>(n - x < F32::kLanes ? n - x : F32::kLanes), std::integral_constant<int, 1>{});
}

// Two rows at once: the pixels that one pairs are, but for the outermost, those of the other.
inline void blur_columns(const float* const* rows, const float* taps, int64_t radius, int64_t n, float* first,
                         float* second) {
  const float* const* const center = rows + radius;
  for_each_block<2>(n, [=](int64_t x, int lanes, auto vecs) __attribute__((always_inline)) {
    constexpr int kVecs = decltype(vecs)::value;
    F32 upper[kVecs], lower[kVecs], sum[kVecs], sum_below[kVecs];  // upper: row -i, lower: row 1 + i
    const auto load = [=](int64_t row, int v) {
      return load_lanes(center[row] + x + v * F32::kLanes, lanes);
    };
#pragma GCC unroll 2
    for (int v = 0; v < kVecs; ++v) {
      upper[v] = load(0, v);
      lower[v] = load(1, v);
      sum[v] = F32::set(taps[0]) * upper[v];
      sum_below[v] = F32::set(taps[0]) * lower[v];
    }
    for (int64_t i = 1; i <= radius; ++i) {
      const F32 tap = F32::set(taps[i]);
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; ++v) {
        const F32 next_upper = load(-i, v), next_lower = load(1 + i, v);
        sum[v] = fma(tap, next_upper + lower[v], sum[v]);
        sum_below[v] = fma(tap, upper[v] + next_lower, sum_below[v]);
        upper[v] = next_upper;
        lower[v] = next_lower;
      }
    }
#pragma GCC unroll 2
    for (int v = 0; v < kVecs; ++v) {
      store_lanes(sum[v], first + x + v * F32::kLanes, lanes);
      store_lanes(sum_below[v], second + x + v * F32::kLanes, lanes);
    }
  });
}

inline void blur_row(const float* row, const float* taps, int64_t radius, int64_t n, float* y) {
  for_each_block<4>(n, [=](int64_t x, int lanes, auto vecs) __attribute__((always_inline)) {
    constexpr int kVecs = decltype(vecs)::value;
    F32 sum[kVecs];
    const auto load = [=](int64_t i, int v) { return load_lanes(row + x + i + v * F32::kLanes, lanes); };
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) sum[v] = F32::set(taps[0]) * load(0, v);
    for (int64_t i = 1; i <= radius; ++i) {
      const F32 tap = F32::set(taps[i]);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) sum[v] = fma(tap, load(-i, v) + load(i, v), sum[v]);
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) store_lanes(sum[v], y + x + v * F32::kLanes, lanes);
  });
}

inline void subtract(const float* a, const float* b, int64_t n, float* y) {
  for_each_vector<float>(n, [&](int64_t i, int lanes) {
    store_lanes(load_lanes(a + i, lanes) - load_lanes(b + i, lanes), y + i, lanes);
  });
}

inline int64_t extrema(const float* const rows[3][3], int64_t first, int64_t last, float threshold,
                       int32_t* columns) {
  int64_t count = 0;
  const F32 limit = F32::set(threshold);
  for_each_vector<float>(last - first, [&](int64_t i, int lanes) {
    const int64_t x = first + i;
    const F32 v = load_lanes(rows[1][1] + x, lanes);
    auto is_top = limit < v, is_bottom = v < -limit;
    const auto left_over = [&] { return (bits(is_top) | bits(is_bottom)) & ((uint64_t{1} << lanes) - 1); };
    const auto compare = [&](const float* row, int64_t dx) {
      const F32 other = load_lanes(row + x + dx, lanes);
      is_top = is_top & (other <= v);
      is_bottom = is_bottom & (v <= other);
    };
    if (left_over() == 0) return;
    // The layer itself first: it leaves one in some fifty.
    constexpr int kRows[] = {1, 0, 2};
    for (const int row : kRows) {
      for (int64_t dx = -1; dx <= 1; ++dx)
        if (row != 1 || dx != 0) compare(rows[1][row], dx);
      if (left_over() == 0) return;
    }
    for (int layer = 0; layer < 3; layer += 2)
      for (int row = 0; row < 3; ++row)
        for (int64_t dx = -1; dx <= 1; ++dx) compare(rows[layer][row], dx);
    for (uint64_t found = left_over(); found != 0; found &= found - 1)
      columns[count++] = static_cast<int32_t>(x + __builtin_ctzll(found));
  });
  return count;
}

inline void gradients(const float* above, const float* row, const float* below, int64_t n, float* magnitude,
                      float* degrees) {
  for_each_vector<float>(n, [&](int64_t i, int lanes) {
    const F32 dx = load_lanes(row + i + 1, lanes) - load_lanes(row + i - 1, lanes);
    const F32 dy = load_lanes(above + i, lanes) - load_lanes(below + i, lanes);
    store_lanes(sqrt(dx * dx + dy * dy), magnitude + i, lanes);
    store_lanes(direction(dx, dy), degrees + i, lanes);
  });
}

// A histogram with a cell more on every side, and a direction more behind the last: what falls there counts
// for nothing, or for the first direction, in the end.
constexpr int kCells = 4, kBins = 8, kWideBins = kBins + 2, kWideRow = (kCells + 2) * kWideBins;

inline void describe(const SiftWindow& window, float* histogram) {
  float wide[(kCells + 2) * kWideRow] = {};
  const int64_t top = window.y - window.radius > 1 ? window.y - window.radius : 1,
                bottom = window.y + window.radius < window.h - 2 ? window.y + window.radius : window.h - 2,
                left = window.x - window.radius > 1 ? window.x - window.radius : 1,
                right = window.x + window.radius < window.w - 2 ? window.x + window.radius : window.w - 2;
  const F32 c = F32::set(window.cosine), s = F32::set(window.sine), middle = F32::set(kCells / 2 - 0.5f);
  const F32 low = F32::set(-1.0f), high = F32::set(static_cast<float>(kCells));
  for (int64_t y = top; y <= bottom; ++y) {
    const float *row = window.image + y * window.w, *above = row - window.w, *below = row + window.w;
    const F32 i = F32::set(static_cast<float>(y - window.y));
    for_each_vector<float>(right - left + 1, [&](int64_t k, int lanes) {
      const int64_t x = left + k;
      const F32 j = F32::iota() + F32::set(static_cast<float>(x - window.x));
      const F32 u = j * c - i * s, v = j * s + i * c;  // in cells
      const F32 column = u + middle, line = v + middle;
      const auto inside = (low < column) & (column < high) & (low < line) & (line < high);
      uint32_t left_over = bits(inside) & static_cast<uint32_t>((uint64_t{1} << lanes) - 1);
      if (left_over == 0) return;
      const F32 dx = load_lanes(row + x + 1, lanes) - load_lanes(row + x - 1, lanes);
      const F32 dy = load_lanes(above + x, lanes) - load_lanes(below + x, lanes);
      const F32 weight = exp((u * u + v * v) * F32::set(-1.0f / (kCells * kCells * 0.5f)));
      const F32 magnitude = sqrt(dx * dx + dy * dy) * weight;
      F32 bin = direction(dx, dy) * F32::set(kBins / 360.0f) - F32::set(window.angle_in_bins);
      bin = select(bin < F32::zero(), bin + F32::set(kBins), bin);
      const F32 line0 = floor(line), column0 = floor(column), bin0 = floor(bin);
      const F32 fl = line - line0, fc = column - column0, fb = bin - bin0;
      const F32 lower = magnitude * fl, upper = magnitude - lower;
      const F32 w11 = lower * fc, w10 = lower - w11, w01 = upper * fc, w00 = upper - w01;
      const F32 place = fma(line0 + F32::set(1.0f), F32::set(kWideRow),
                            fma(column0 + F32::set(1.0f), F32::set(kWideBins), bin0));
      alignas(64) float weights[5][F32::kLanes];
      alignas(64) int32_t places[F32::kLanes];
      w00.store(weights[0]), w01.store(weights[1]), w10.store(weights[2]), w11.store(weights[3]);
      fb.store(weights[4]);
      to_i32(place).store(places);
      for (; left_over != 0; left_over &= left_over - 1) {
        const int lane = __builtin_ctz(left_over);
        float* const cell = wide + places[lane];
        const float next = weights[4][lane];
        const auto add = [=](int64_t offset, float value) {
          const float to_next = value * next;
          cell[offset] += value - to_next;
          cell[offset + 1] += to_next;
        };
        add(0, weights[0][lane]);
        add(kWideBins, weights[1][lane]);
        add(kWideRow, weights[2][lane]);
        add(kWideRow + kWideBins, weights[3][lane]);
      }
    });
  }
  for (int line = 0; line < kCells; ++line) {
    for (int column = 0; column < kCells; ++column) {
      const float* const cell = wide + (line + 1) * kWideRow + (column + 1) * kWideBins;
      float* const out = histogram + (line * kCells + column) * kBins;
      for (int b = 0; b < kBins; ++b) out[b] = cell[b];
      out[0] += cell[kBins];
      out[1] += cell[kBins + 1];
    }
  }
}

const SiftKernels sift = {F32::kIsaName, blur_columns, blur_row, subtract, extrema, gradients, describe};

}  // namespace pyvision::PYVISION_ISA_NS

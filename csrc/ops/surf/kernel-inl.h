// SPDX-License-Identifier: Apache-2.0
#include "ops/surf/surf.h"
#include "simd/direction-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

constexpr int64_t kTile = 512;  // columns whose three sums stay in L1
constexpr int64_t kWide = kTile + 3 * kMaxSurfLobe + 64;

inline void respond(const int32_t* const rows[10], int64_t l, int64_t n, float unit, float* out) {
  const int64_t h = l / 2, r = l + h;
  const F32 all = F32::set(unit / static_cast<float>(l * (2 * l - 1))), weight = F32::set(0.81f);
  alignas(64) int32_t upright[kWide], level[kWide], corners[kWide];  // xx, yy, xy summed along the columns
  for (int64_t first = 0; first < n; first += kTile) {
    const int64_t count = n - first < kTile ? n - first : kTile, sums = count + 2 * r + 1;
    const int64_t shift = first - r;
    for (int64_t i = 0; i < sums; i += I32::kLanes) {
      const auto row = [=](int k) { return I32::load(rows[k] + shift + i); };
      (row(7) - row(1)).store(upright + i);
      const I32 middle = row(6) - row(3);
      (row(9) - row(0) - (middle + middle + middle)).store(level + i);
      ((row(4) - row(2)) - (row(8) - row(5))).store(corners + i);
    }
    for (int64_t i = 0; i < count; i += I32::kLanes) {
      const auto at = [=](const int32_t* p, int64_t dx) { return I32::load(p + i + r + dx); };
      const I32 middle = at(upright, h + 1) - at(upright, -h);
      const I32 xx = at(upright, r + 1) - at(upright, -r) - (middle + middle + middle);
      const I32 yy = at(level, l) - at(level, 1 - l);
      const I32 xy = (at(corners, 0) - at(corners, -l)) - (at(corners, l + 1) - at(corners, 1));
      const F32 a = to_f32(xx) * all, b = to_f32(xy) * all, c = to_f32(yy) * all;
      const int64_t left = count - i;
      store_lanes(a * c - weight * (b * b), out + first + i,
                  left < F32::kLanes ? static_cast<int>(left) : F32::kLanes);
    }
  }
}

// Wavelets of n points around a window's middle, n rounded up to whole vectors; beyond the picture they are
// what lies inside. u, v: (n,) in scales, along the keypoint's axes
struct Wavelets {
  static constexpr int64_t kMost = kSurfGrid * kSurfGrid;
  alignas(64) int32_t left[kMost + 16], middle[kMost + 16], right[kMost + 16], top[kMost + 16],
      line[kMost + 16], bottom[kMost + 16];
  alignas(64) int32_t dx[kMost + 16], dy[kMost + 16];

  // Points [i, i + lanes) lie at (x, y).
  void place(const SurfWindow& window, int64_t i, F32 x, F32 y) {
    const F32 half = F32::set(static_cast<float>(window.half)), one = F32::set(1.0f);
    const auto limit = [](F32 value, int64_t extent) {
      return to_i32(min(max(value, F32::zero()), F32::set(static_cast<float>(extent))));
    };
    const F32 column = floor(x) + one, row = floor(y) + one;
    limit(column - half, window.image->w).store(left + i);
    limit(column, window.image->w).store(middle + i);
    limit(column + half, window.image->w).store(right + i);
    limit(row - half, window.image->h).store(top + i);
    limit(row, window.image->h).store(line + i);
    limit(row + half, window.image->h).store(bottom + i);
  }

  void measure(const IntegralImage& image, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const auto at = [&](const int32_t* row, int32_t column) { return static_cast<uint32_t>(row[column]); };
      const int32_t *a = image.row(top[i]), *b = image.row(line[i]), *c = image.row(bottom[i]);
      const uint32_t a0 = at(a, left[i]), a2 = at(a, right[i]), c0 = at(c, left[i]), c2 = at(c, right[i]);
      const uint32_t across = at(c, middle[i]) - at(a, middle[i]), along = at(b, right[i]) - at(b, left[i]);
      dx[i] = static_cast<int32_t>((c2 - a2) + (c0 - a0) - 2 * across);
      dy[i] = static_cast<int32_t>((c2 - c0) + (a2 - a0) - 2 * along);
    }
  }
};

inline void orient(const SurfWindow& window, const SurfWeights& weights, float* dx, float* dy) {
  constexpr int64_t kOpen = kSurfDirections / 6;  // a window of 60 degrees
  Wavelets wavelets;
  const F32 x = F32::set(window.x), y = F32::set(window.y), s = F32::set(window.scale);
  for_each_vector<float>(kSurfAnglePoints, [&](int64_t i, int lanes) {
    wavelets.place(window, i, x + load_lanes(weights.angle_u + i, lanes) * s,
                   y + load_lanes(weights.angle_v + i, lanes) * s);
  });
  wavelets.measure(*window.image, kSurfAnglePoints);
  alignas(64) float across[kSurfAnglePoints + 16], down[kSurfAnglePoints + 16];
  alignas(64) int32_t bins[kSurfAnglePoints + 16];
  for_each_vector<float>(kSurfAnglePoints, [&](int64_t i, int lanes) {
    const F32 weight = load_lanes(weights.angle + i, lanes);
    const F32 a = to_f32(I32::load(wavelets.dx + i)) * weight,
              b = to_f32(I32::load(wavelets.dy + i)) * weight;
    a.store(across + i), b.store(down + i);
    to_i32(direction(a, b) * F32::set(kSurfDirections / 360.0f)).store(bins + i);
  });
  float sum_x[kSurfDirections + kOpen] = {}, sum_y[kSurfDirections + kOpen] = {};
  for (int64_t i = 0; i < kSurfAnglePoints; ++i) {
    sum_x[bins[i]] += across[i];
    sum_y[bins[i]] += down[i];
  }
  float open_x[kSurfDirections] = {}, open_y[kSurfDirections] = {};
  for (int64_t k = 0; k < kOpen; ++k) {
    sum_x[kSurfDirections + k] = sum_x[k];
    sum_y[kSurfDirections + k] = sum_y[k];
  }
  for (int64_t k = 0; k < kOpen; ++k) {
    for (int64_t i = 0; i < kSurfDirections; ++i) open_x[i] += sum_x[i + k];
    for (int64_t i = 0; i < kSurfDirections; ++i) open_y[i] += sum_y[i + k];
  }
  float longest = -1;
  for (int64_t i = 0; i < kSurfDirections; ++i) {
    const float length = open_x[i] * open_x[i] + open_y[i] * open_y[i];
    if (length <= longest) continue;
    longest = length;
    *dx = open_x[i];
    *dy = open_y[i];
  }
}

inline void describe(const SurfWindow& window, const SurfWeights& weights, bool extended, float* values) {
  Wavelets wavelets;
  const F32 c = F32::set(window.cosine), s = F32::set(window.sine), scale = F32::set(window.scale);
  const F32 x = F32::set(window.x), y = F32::set(window.y);
  constexpr float kMiddle = (kSurfGrid - 1) / 2.0f;
  alignas(64) float across[Wavelets::kMost + 16], down[Wavelets::kMost + 16];
  for (int64_t row = 0; row < kSurfGrid; ++row) {
    const F32 v = F32::set(static_cast<float>(row) - kMiddle) * scale;
    // Whole vectors: what they write beyond the row is written again by the next.
    for (int64_t i = 0; i < kSurfGrid; i += F32::kLanes) {
      const F32 u = (F32::iota() + F32::set(static_cast<float>(i) - kMiddle)) * scale;
      wavelets.place(window, row * kSurfGrid + i, x + (u * c - v * s), y + (u * s + v * c));
    }
  }
  wavelets.measure(*window.image, Wavelets::kMost);
  for (int64_t i = 0; i < Wavelets::kMost; i += F32::kLanes) {
    const F32 a = to_f32(I32::load(wavelets.dx + i)), b = to_f32(I32::load(wavelets.dy + i));
    (a * c + b * s).store(across + i);
    (b * c - a * s).store(down + i);
  }
  for (int64_t cell = 0; cell < kSurfCells * kSurfCells; ++cell) {
    const int64_t top = cell / kSurfCells, left = cell % kSurfCells;
    const int64_t first = 5 * top * kSurfGrid + 5 * left;
    F32 sums[8];
    for (F32& sum : sums) sum = F32::zero();
    for (int64_t row = 0; row < kSurfCell; ++row) {
      for_each_vector<float>(kSurfCell, [&](int64_t i, int lanes) {
        const int64_t at = first + row * kSurfGrid + i;
        const F32 weight = load_lanes(weights.cell[row] + i, lanes);
        const F32 dx = load_lanes(across + at, lanes) * weight, dy = load_lanes(down + at, lanes) * weight;
        if (!extended) {
          sums[0] = sums[0] + dx;
          sums[1] = sums[1] + dy;
          sums[2] = sums[2] + abs(dx);
          sums[3] = sums[3] + abs(dy);
          return;
        }
        const auto down_is_negative = dy < F32::zero(), across_is_negative = dx < F32::zero();
        const auto add = [&](int k, F32 value, auto is_second) {
          const F32 second = select(is_second, value, F32::zero());
          sums[k] = sums[k] + (value - second);
          sums[k + 2] = sums[k + 2] + second;
        };
        add(0, dx, down_is_negative), add(1, abs(dx), down_is_negative);
        add(4, dy, across_is_negative), add(5, abs(dy), across_is_negative);
      });
    }
    const int count = extended ? 8 : 4;
    for (int k = 0; k < count; ++k) values[cell * count + k] = weights.cells[top][left] * reduce_add(sums[k]);
  }
}

const SurfKernels surf = {F32::kIsaName, respond, orient, describe};

}  // namespace pyvision::PYVISION_ISA_NS

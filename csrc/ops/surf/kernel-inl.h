// SPDX-License-Identifier: Apache-2.0
#include "ops/surf/surf.h"
#include "simd/direction-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

static_assert(kSurfOctaves == 4, "first_of takes three bits");
constexpr int64_t kWide = ((kSurfTileColumns + 2) << (kSurfOctaves - 1)) + 3 * kMaxSurfLobe + 256;

// Sums along the columns of a tile, every 2^octave-th of them together: those that are p more than a multiple
// stand behind the `first_of(p)`-th.
struct ColumnSums {
  alignas(64) int32_t sums[kWide], other[kWide];

  int32_t* split(int64_t n, int64_t octave) {
    int32_t *from = sums, *to = other;
    for (int64_t part = n / 2; part * 2 > n >> octave; part /= 2) {
      for (int64_t start = 0; start < n; start += 2 * part) {
        for (int64_t i = 0; i < part; i += I32::kLanes) {
          const int32_t* const pair = from + start + 2 * i;
          I32 even, odd;
          deinterleave(I32::load(pair), I32::load(pair + I32::kLanes), &even, &odd);
          even.store(to + start + i);
          odd.store(to + start + part + i);
        }
      }
      int32_t* const next = from;
      from = to;
      to = next;
    }
    return from;
  }
  static int64_t first_of(int64_t p, int64_t n) {
    return (p & 1) * (n / 2) + (p >> 1 & 1) * (n / 4) + (p >> 2) * (n / 8);
  }
};

inline void respond(const int32_t* const rows[10], int64_t l, int64_t octave, int64_t first, int64_t n,
                    float unit, float* out) {
  const int64_t h = l / 2, r = l + h, step = int64_t{1} << octave;
  const F32 all = F32::set(unit / static_cast<float>(l * (2 * l - 1))), weight = F32::set(0.81f);
  ColumnSums xx_sums, yy_sums, xy_sums;
  const int64_t middle = first * step;               // of the first filter
  const int64_t left = (middle - r) & ~int64_t{15};  // where vectors do not cross cache lines
  const int64_t needed = middle - left + (n - 1) * step + r + 2, whole = I32::kLanes << octave;
  const int64_t columns = (needed + whole - 1) & ~(whole - 1);
  for (int64_t i = 0; i < needed; i += I32::kLanes) {
    const auto row = [=](int k) { return I32::load(rows[k] + left + i); };
    (row(7) - row(1)).store(xx_sums.sums + i);
    const I32 inner = row(6) - row(3);
    (row(9) - row(0) - (inner + inner + inner)).store(yy_sums.sums + i);
    ((row(4) - row(2)) - (row(8) - row(5))).store(xy_sums.sums + i);
  }
  const int32_t *const upright = xx_sums.split(columns, octave),
                       *const level = yy_sums.split(columns, octave),
                       *const corners = xy_sums.split(columns, octave);
  const auto beside = [=](const int32_t* sums, int64_t dx) {
    const int64_t column = middle - left + dx;
    return sums + ColumnSums::first_of(column & (step - 1), columns) + (column >> octave);
  };
  const int32_t* const xx_at[] = {beside(upright, -r), beside(upright, -h), beside(upright, h + 1),
                                  beside(upright, r + 1)};
  const int32_t* const yy_at[] = {beside(level, 1 - l), beside(level, l)};
  const int32_t* const xy_at[] = {beside(corners, -l), beside(corners, 0), beside(corners, 1),
                                  beside(corners, l + 1)};
  for (int64_t i = 0; i < n; i += I32::kLanes) {
    const auto at = [=](const int32_t* p) { return I32::load(p + i); };
    const I32 inner = at(xx_at[2]) - at(xx_at[1]);
    const I32 xx = at(xx_at[3]) - at(xx_at[0]) - (inner + inner + inner);
    const I32 yy = at(yy_at[1]) - at(yy_at[0]);
    const I32 xy = (at(xy_at[1]) - at(xy_at[0])) - (at(xy_at[3]) - at(xy_at[2]));
    const F32 a = to_f32(xx) * all, b = to_f32(xy) * all, c = to_f32(yy) * all;
    const int64_t rest = n - i;
    store_lanes(a * c - weight * (b * b), out + i, rest < F32::kLanes ? static_cast<int>(rest) : F32::kLanes);
  }
}

inline void highest(const float* const rows[kSurfLayers][3], int64_t n, float* lower, float* upper) {
  for_each_vector<float>(n, [&](int64_t x, int lanes) {
    const auto of = [&](int64_t layer) {
      const auto row = [&](int i) { return load_lanes(rows[layer][i] + x, lanes); };
      return max(max(row(0), row(1)), row(2));
    };
    const F32 both = max(of(1), of(2));
    store_lanes(max(of(0), both), lower + x, lanes);
    store_lanes(max(both, of(3)), upper + x, lanes);
  });
}

inline int64_t peaks(const float* row, const float* highest, int64_t first, int64_t last, float threshold,
                     int32_t* columns) {
  int64_t count = 0;
  const F32 limit = F32::set(threshold);
  for_each_vector<float>(last - first, [&](int64_t i, int lanes) {
    const int64_t x = first + i;
    const auto around = [&](int64_t dx) { return load_lanes(highest + x + dx, lanes); };
    const F32 value = load_lanes(row + x, lanes);
    const auto is_peak = (limit < value) & (max(max(around(-1), around(0)), around(1)) <= value);
    for (uint64_t found = bits(is_peak) & ((uint64_t{1} << lanes) - 1); found != 0; found &= found - 1)
      columns[count++] = static_cast<int32_t>(x + __builtin_ctzll(found));
  });
  return count;
}

// Wavelets of a few points around a window's middle, so that L1 has room for the integral image as well;
// beyond the picture they are what lies inside.
struct Wavelets {
  static constexpr int64_t kMost = 64;
  alignas(64) int32_t left[kMost], middle[kMost], right[kMost], top[kMost], line[kMost], bottom[kMost];
  alignas(64) int32_t dx[kMost], dy[kMost];

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

// Calls take(i, lanes, dx, dy) for vectors of the wavelets at the points (u, v) in [0, n), in scales and
// turned.
template <class Take>
[[gnu::always_inline]] inline void for_each_wavelet(const SurfWindow& window, const float* u, const float* v,
                                                    int64_t n, Take take) {
  const F32 c = F32::set(window.cosine), s = F32::set(window.sine), scale = F32::set(window.scale);
  const F32 x = F32::set(window.x), y = F32::set(window.y);
  Wavelets wavelets;
  for (int64_t first = 0; first < n; first += Wavelets::kMost) {
    const int64_t count = n - first < Wavelets::kMost ? n - first : Wavelets::kMost;
    for_each_vector<float>(count, [&](int64_t i, int lanes) {
      const F32 across = load_lanes(u + first + i, lanes) * scale,
                down = load_lanes(v + first + i, lanes) * scale;
      wavelets.place(window, i, x + (across * c - down * s), y + (across * s + down * c));
    });
    wavelets.measure(*window.image, count);
    for_each_vector<float>(count, [&](int64_t i, int lanes) {
      take(first + i, lanes, to_f32(I32::load(wavelets.dx + i)), to_f32(I32::load(wavelets.dy + i)));
    });
  }
}

inline void orient(const SurfWindow& window, const SurfWeights& weights, float* dx, float* dy) {
  constexpr int64_t kOpen = kSurfDirections / 6;  // a window of 60 degrees
  alignas(64) float across[kSurfAnglePoints + 16], down[kSurfAnglePoints + 16];
  alignas(64) int32_t bins[kSurfAnglePoints + 16];
  for_each_wavelet(window, weights.angle_u, weights.angle_v, kSurfAnglePoints,
                   [&](int64_t i, int lanes, F32 dx, F32 dy) {
                     const F32 weight = load_lanes(weights.angle + i, lanes);
                     const F32 a = dx * weight, b = dy * weight;
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
  const F32 c = F32::set(window.cosine), s = F32::set(window.sine);
  alignas(64) float across[kSurfPoints + 16], down[kSurfPoints + 16];
  for_each_wavelet(window, weights.grid_u, weights.grid_v, kSurfPoints, [&](int64_t i, int, F32 dx, F32 dy) {
    (dx * c + dy * s).store(across + i);
    (dy * c - dx * s).store(down + i);
  });
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

const SurfKernels surf = {F32::kIsaName, respond, highest, peaks, orient, describe};

}  // namespace pyvision::PYVISION_ISA_NS

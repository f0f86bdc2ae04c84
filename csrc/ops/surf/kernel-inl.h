// SPDX-License-Identifier: Apache-2.0
#include "ops/surf/surf.h"
#include "simd/direction-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

constexpr int64_t kWide = ((kSurfTileColumns + 2) << (kSurfOctaves - 1)) + 3 * kMaxSurfLobe + 256;

// What of the integral image a filter's rows leave at one column: differences between them, by the box.
struct ColumnSum {
  I32 xx, yy, xy;
};
inline I32 column_xx(const int32_t* const rows[10], int64_t x) {
  return I32::load(rows[7] + x) - I32::load(rows[1] + x);
}
inline I32 column_yy(const int32_t* const rows[10], int64_t x) {
  const I32 inner = I32::load(rows[6] + x) - I32::load(rows[3] + x);
  return I32::load(rows[9] + x) - I32::load(rows[0] + x) - (inner + inner + inner);
}
inline I32 column_xy(const int32_t* const rows[10], int64_t x) {
  const auto row = [=](int k) { return I32::load(rows[k] + x); };
  return (row(4) - row(2)) - (row(8) - row(5));
}
inline ColumnSum column_sum(const int32_t* const rows[10], int64_t x) {
  return {column_xx(rows, x), column_yy(rows, x), column_xy(rows, x)};
}

inline F32 response(I32 xx, I32 yy, I32 xy, F32 all) {
  const F32 a = to_f32(xx) * all, b = to_f32(xy) * all, c = to_f32(yy) * all;
  return a * c - F32::set(0.81f) * (b * b);
}

// Sums along n columns, every 2^octave-th of them together: those p beside a multiple stand from out + p
// pitch on. Only the first kNeeded of these p, counted from kFirst and around, are of use.
template <int kOctave, int kFirst, int kNeeded, class Sum>
inline void split(int64_t n, int64_t pitch, int32_t* out, Sum sum) {
  constexpr int kStep = 1 << kOctave;
  for (int64_t i = 0; i < n; i += kStep * I32::kLanes) {
    I32 parts[kStep];
    for (int k = 0; k < kStep; ++k) parts[k] = sum(i + k * I32::kLanes);
    for (int level = 0; level < kOctave; ++level) {
      I32 next[kStep];
      for (int k = 0; k < kStep / 2; ++k)
        deinterleave(parts[2 * k], parts[2 * k + 1], &next[k], &next[k + kStep / 2]);
      for (int k = 0; k < kStep; ++k) parts[k] = next[k];
    }
    for (int k = 0; k < kNeeded && k < kStep; ++k) {
      const int p = (k + kFirst) & (kStep - 1);
      parts[p].store(out + p * pitch + (i >> kOctave));
    }
  }
}

// Loads at any place, of sums in memory.
template <int kOctave>
inline void respond_by_loads(const int32_t* const rows[10], int64_t l, int64_t first, int64_t n, float unit,
                             float* out) {
  constexpr int64_t kStep = int64_t{1} << kOctave;
  const int64_t h = l / 2, r = l + h;
  const F32 all = F32::set(unit / static_cast<float>(l * (2 * l - 1)));
  alignas(64) int32_t xx_sums[kWide], yy_sums[kWide], xy_sums[kWide];
  const int64_t middle = first * kStep;              // of the first filter
  const int64_t left = (middle - r) & ~int64_t{15};  // where vectors do not cross cache lines
  const int64_t needed = middle - left + (n - 1) * kStep + r + 2, whole = I32::kLanes * kStep;
  const int64_t columns = (needed + whole - 1) & ~(whole - 1), pitch = columns >> kOctave;
  // l and r are 1 more than a multiple of the step, and h is one.
  split<kOctave, -1, 4>(columns, pitch, xx_sums, [=](int64_t x) { return column_xx(rows, left + x); });
  split<kOctave, 0, 2>(columns, pitch, yy_sums, [=](int64_t x) { return column_yy(rows, left + x); });
  split<kOctave, -1, 4>(columns, pitch, xy_sums, [=](int64_t x) { return column_xy(rows, left + x); });
  const auto beside = [=](const int32_t* sums, int64_t dx) {
    const int64_t column = middle - left + dx;
    return sums + (column & (kStep - 1)) * pitch + (column >> kOctave);
  };
  const int32_t* const xx_at[] = {beside(xx_sums, -r), beside(xx_sums, -h), beside(xx_sums, h + 1),
                                  beside(xx_sums, r + 1)};
  const int32_t* const yy_at[] = {beside(yy_sums, 1 - l), beside(yy_sums, l)};
  const int32_t* const xy_at[] = {beside(xy_sums, -l), beside(xy_sums, 0), beside(xy_sums, 1),
                                  beside(xy_sums, l + 1)};
  for (int64_t i = 0; i < n; i += I32::kLanes) {
    const auto at = [=](const int32_t* p) { return I32::load(p + i); };
    const I32 inner = at(xx_at[2]) - at(xx_at[1]);
    const I32 xx = at(xx_at[3]) - at(xx_at[0]) - (inner + inner + inner);
    const I32 yy = at(yy_at[1]) - at(yy_at[0]);
    const I32 xy = (at(xy_at[1]) - at(xy_at[0])) - (at(xy_at[3]) - at(xy_at[2]));
    response(xx, yy, xy, all).store(out + i);
  }
}

#if defined(__AVX512F__)
template <int64_t kValue>
struct Constant {
  constexpr int64_t operator()() const { return kValue; }
};

// Of sixteen columns one step apart, and where steps are of two pixels, of those between them
struct ColumnSums16 {
  ColumnSum even, odd;
};

template <int64_t kOctave>
inline ColumnSums16 column_sums16(const int32_t* const rows[10], int64_t x) {
  ColumnSums16 s = {};
  s.even = column_sum(rows, x);
  if constexpr (kOctave == 1) {
    const ColumnSum first = s.even, second = column_sum(rows, x + I32::kLanes);
    deinterleave(first.xx, second.xx, &s.even.xx, &s.odd.xx);
    deinterleave(first.yy, second.yy, &s.even.yy, &s.odd.yy);
    deinterleave(first.xy, second.xy, &s.even.xy, &s.odd.xy);
  }
  return s;
}

// The first octaves from registers: of sixteen lanes a load at any place crosses a cache line.
template <int64_t kOctave, int64_t l>
inline void respond_in_registers(const int32_t* const given[10], int64_t first, int64_t n, float unit,
                                 float* out) {
  constexpr int64_t h = l / 2, r = l + h, kStep = int64_t{1} << kOctave;
  const F32 all = F32::set(unit / static_cast<float>(l * (2 * l - 1)));
  const int32_t* rows[10];  // which `out` cannot change
  for (int k = 0; k < 10; ++k) rows[k] = given[k];
  int64_t x = first & ~int64_t{15};
  ColumnSums16 before = {}, here = column_sums16<kOctave>(rows, x * kStep);
  if (x > 0) before = column_sums16<kOctave>(rows, (x - I32::kLanes) * kStep);
  for (; x < first + n; x += I32::kLanes) {
    const ColumnSums16 behind = column_sums16<kOctave>(rows, (x + I32::kLanes) * kStep);
    if constexpr (l == 9 || l == 17) {
      for (int64_t row = 0; row < kStep; ++row)
        for (int64_t part = 0; part < kStep; ++part)
          __builtin_prefetch(
              rows[9] + (row + 1) * (rows[5] - rows[4]) + (x + I32::kLanes) * kStep + part * 16, 0, 2);
    }
    // One of the sums `away` columns beside those of the filters' middles
    const auto at = [&](I32 ColumnSum::* sum, auto away) -> I32 {
      constexpr int64_t steps = away() >> kOctave;
      constexpr auto part = steps * kStep == away() ? &ColumnSums16::even : &ColumnSums16::odd;
      if constexpr (steps < 0)
        return {_mm512_alignr_epi32((here.*part.*sum).v, (before.*part.*sum).v, I32::kLanes + steps)};
      else
        return {_mm512_alignr_epi32((behind.*part.*sum).v, (here.*part.*sum).v, steps)};
    };
    const I32 inner = at(&ColumnSum::xx, Constant<h + 1>()) - at(&ColumnSum::xx, Constant<-h>());
    const I32 xx =
        at(&ColumnSum::xx, Constant<r + 1>()) - at(&ColumnSum::xx, Constant<-r>()) - (inner + inner + inner);
    const I32 yy = at(&ColumnSum::yy, Constant<l>()) - at(&ColumnSum::yy, Constant<1 - l>());
    const I32 xy = (here.even.xy - at(&ColumnSum::xy, Constant<-l>())) -
                   (at(&ColumnSum::xy, Constant<l + 1>()) - at(&ColumnSum::xy, Constant<1>()));
    response(xx, yy, xy, all).store(out + (x - first));
    before = here;
    here = behind;
  }
}
#endif

inline void respond(const int32_t* const rows[10], int64_t l, int64_t octave, int64_t first, int64_t n,
                    float unit, float* out) {
#if defined(__AVX512F__)
  constexpr decltype(&respond_in_registers<0, 3>) kFirst[] = {
      respond_in_registers<0, 3>, respond_in_registers<0, 5>, respond_in_registers<0, 7>,
      respond_in_registers<0, 9>};
  if (octave == 0) return kFirst[l / 2 - 1](rows, first, n, unit, out);
  if (octave == 1)
    return (l == 13 ? respond_in_registers<1, 13> : respond_in_registers<1, 17>)(rows, first, n, unit, out);
#endif
  constexpr decltype(&respond_by_loads<0>) kByLoads[] = {respond_by_loads<0>, respond_by_loads<1>,
                                                         respond_by_loads<2>, respond_by_loads<3>};
  kByLoads[octave](rows, l, first, n, unit, out);
}

inline void halve(const float* row, int64_t n, float* out) {
  for_each_vector<float>(n, [&](int64_t i, int lanes) {
    const auto at = [=](int64_t k) { return bits_as_i32(F32::load(row + 2 * i + k)); };
    I32 even, odd;
    deinterleave(at(0), at(F32::kLanes), &even, &odd);
    store_lanes(bits_as_f32(even), out + i, lanes);
  });
}

inline void peaks(const float* const rows[kSurfLayers][3], float threshold, SurfPeaks lists[2]) {
  // Of three rows and three layers each
  struct Greatest {
    F32 lower, upper;
  };
  const auto greatest = [&](int64_t x) -> Greatest {
    const auto of = [&](int64_t layer) {
      const auto row = [&](int i) { return F32::load(rows[layer][i] + x); };
      return max(max(row(0), row(1)), row(2));
    };
    const F32 both = max(of(1), of(2));
    return {max(of(0), both), max(both, of(3))};
  };
  const F32 limit = F32::set(threshold);
  const int64_t first = lists[0].first / F32::kLanes * F32::kLanes;
  Greatest before = greatest(first - F32::kLanes), here = greatest(first);
  for (int64_t x = first; x < lists[0].last; x += F32::kLanes) {
    const Greatest behind = greatest(x + F32::kLanes);
    const auto find = [&](const float* row, F32 left, F32 middle, F32 right, SurfPeaks* list) {
      const F32 value = F32::load(row + x);
      const auto is_peak =
          (limit < value) & (max(max(move_up(left, middle), middle), move_down(middle, right)) <= value);
      for (uint64_t found = bits(is_peak); found != 0; found &= found - 1) {
        const int64_t column = x + __builtin_ctzll(found);
        if (list->first <= column && column < list->last)
          list->columns[list->count++] = static_cast<int32_t>(column);
      }
    };
    find(rows[1][1], before.lower, here.lower, behind.lower, &lists[0]);
    find(rows[2][1], before.upper, here.upper, behind.upper, &lists[1]);
    before = here;
    here = behind;
  }
}

// Wavelets of a few points around a window's middle, so that L1 has room for the integral image as well.
struct Wavelets {
  static constexpr int64_t kMost = 64;
  alignas(64) int32_t left[kMost], middle[kMost], right[kMost], top[kMost], line[kMost], bottom[kMost];
  alignas(64) int32_t dx[kMost], dy[kMost];

  // Points [i, i + lanes) lie at (x, y): the wavelets around them in the picture.
  void place(const SurfWindow& window, int64_t i, F32 x, F32 y) {
    const F32 corner = F32::set(static_cast<float>(1 - window.half));
    to_i32(floor(x) + corner).store(left + i);
    to_i32(floor(y) + corner).store(top + i);
  }
  // The same where they may reach beyond it: they are what lies inside. Returns whether all of these do.
  bool place_clipped(const SurfWindow& window, int64_t i, F32 x, F32 y) {
    const F32 half = F32::set(static_cast<float>(window.half)), one = F32::set(1.0f);
    const auto limit = [](F32 value, int64_t extent) {
      return min(max(value, F32::zero()), F32::set(static_cast<float>(extent)));
    };
    const F32 column = floor(x) + one, row = floor(y) + one;
    const F32 at_left = column - half, at_right = column + half, at_top = row - half, at_bottom = row + half;
    const F32 from_x = limit(at_left, window.image->w), to_x = limit(at_right, window.image->w);
    const F32 from_y = limit(at_top, window.image->h), to_y = limit(at_bottom, window.image->h);
    to_i32(from_x).store(left + i);
    to_i32(limit(column, window.image->w)).store(middle + i);
    to_i32(to_x).store(right + i);
    to_i32(from_y).store(top + i);
    to_i32(limit(row, window.image->h)).store(line + i);
    to_i32(to_y).store(bottom + i);
    const auto same = (from_x == at_left) & (to_x == at_right) & (from_y == at_top) & (to_y == at_bottom);
    return bits(same) == bits(half == half);
  }

  // a: the values at the left, in the middle and at the right of the row above; b, c: of that of the point,
  // which has none in the middle, and of the row below
  void set(int64_t i, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t b0, uint32_t b2, uint32_t c0,
           uint32_t c1, uint32_t c2) {
    dx[i] = static_cast<int32_t>((c2 - a2) + (c0 - a0) - 2 * (c1 - a1));
    dy[i] = static_cast<int32_t>((c2 - c0) + (a2 - a0) - 2 * (b2 - b0));
  }
  void measure(const SurfWindow& window, int64_t n) {
#if defined(__AVX512F__)
    if (integral_size(window.image->h, window.image->w) <= INT32_MAX) {
      if (window.half < 4) return measure_rows<true>(window, n);
      if (window.half < 8) return measure_rows<false>(window, n);
    }
#endif
    const int64_t stride = window.image->stride(), half = window.half;
    const auto* const a = reinterpret_cast<const uint32_t*>(window.image->data);
    const uint32_t *const b = a + half * stride, *const c = b + half * stride;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t first = top[i] * stride + left[i], second = first + half, third = second + half;
      set(i, a[first], a[second], a[third], b[first], b[third], c[first], c[second], c[third]);
    }
  }
#if defined(__AVX512F__)
  // The same where a vector, or half of one, holds all that is needed of a row.
  template <bool kHalf>
  void measure_rows(const SurfWindow& window, int64_t n) {
    const __m512i stride = _mm512_set1_epi32(static_cast<int32_t>(window.image->stride()));
    alignas(64) int32_t places[kMost];
    for (int64_t i = 0; i < n; i += I32::kLanes)
      (I32{_mm512_mullo_epi32(I32::load(top + i).v, stride)} + I32::load(left + i)).store(places + i);
    const int32_t* const above = window.image->data;
    const int32_t *const beside = above + window.half * window.image->stride(),
                         *const below = beside + window.half * window.image->stride();
    // Of the differences between the rows the values at the right, the left and in the middle; of their
    // second differences those at the right, the left and the left once more
    const int h = window.half, a = 2 * h, other = I32::kLanes, b = other + 2 * h, second = I32::kLanes / 2;
    const __m512i order =
        _mm512_setr_epi32(a, b, 0, other, h, other, h, other, second + a, second + b, second, second + other,
                          second + h, second + other, second + h, second + other);
    const auto differences = [=](__m512i a, __m512i b, __m512i c) {
      const __m512i half = _mm512_sub_epi32(b, a), whole = _mm512_sub_epi32(c, a);
      return _mm512_permutex2var_epi32(whole, order, _mm512_sub_epi32(_mm512_sub_epi32(whole, half), half));
    };
    const auto pair = [&](const int32_t* place, int i, int k) {
      const auto half = [](const int32_t* p) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
      };
      if constexpr (kHalf) {
        const auto load = [&](const int32_t* row) {
          return _mm512_inserti64x4(_mm512_castsi256_si512(half(row + place[i])), half(row + place[k]), 1);
        };
        return differences(load(above), load(beside), load(below));
      } else {
        const auto load = [&](int64_t at) {
          return differences(I32::load(above + at).v, I32::load(beside + at).v, I32::load(below + at).v);
        };
        return _mm512_inserti64x4(load(place[i]), _mm512_castsi512_si256(load(place[k])), 1);
      }
    };
    const auto less = [](__m512i a, __m512i b) {
      return _mm512_sub_epi32(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xdd));
    };
    // dx and dy of eight in turns
    const auto eight = [&](const int32_t* place) -> I32 {
      const __m512i even = less(pair(place, 0, 2), pair(place, 4, 6)),
                    odd = less(pair(place, 1, 3), pair(place, 5, 7));
      return {_mm512_add_epi32(_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd))};
    };
    for (int64_t i = 0; i < n; i += I32::kLanes) {
      I32 x, y;
      deinterleave(eight(places + i), eight(places + i + I32::kLanes / 2), &x, &y);
      x.store(dx + i), y.store(dy + i);
    }
  }
#endif
  void measure_clipped(const SurfWindow& window, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const auto row = [&](int32_t y) { return reinterpret_cast<const uint32_t*>(window.image->row(y)); };
      const uint32_t *const a = row(top[i]), *const b = row(line[i]), *const c = row(bottom[i]);
      set(i, a[left[i]], a[middle[i]], a[right[i]], b[left[i]], b[right[i]], c[left[i]], c[middle[i]],
          c[right[i]]);
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
  // Few at once where some may reach beyond the picture, so that few are clipped.
  const int64_t most = window.is_inside ? Wavelets::kMost : 16;
  for (int64_t first = 0; first < n; first += most) {
    const int64_t count = n - first < most ? n - first : most;
    const auto place = [&](auto put) {
      for_each_vector<float>(count, [&](int64_t i, int lanes) {
        const F32 across = load_lanes(u + first + i, lanes) * scale,
                  down = load_lanes(v + first + i, lanes) * scale;
        put(i, x + (across * c - down * s), y + (across * s + down * c));
      });
    };
    bool inside = true;
    if (window.is_inside)
      place([&](int64_t i, F32 at_x, F32 at_y) { wavelets.place(window, i, at_x, at_y); });
    else
      place([&](int64_t i, F32 at_x, F32 at_y) {
        if (!wavelets.place_clipped(window, i, at_x, at_y)) inside = false;
      });
    if (inside)
      wavelets.measure(window, count);
    else
      wavelets.measure_clipped(window, count);
    for_each_vector<float>(count, [&](int64_t i, int lanes) {
      take(first + i, lanes, to_f32(I32::load(wavelets.dx + i)), to_f32(I32::load(wavelets.dy + i)));
    });
  }
}

inline void orient(const SurfWindow& window, const SurfWeights& weights, float* dx, float* dy) {
  constexpr int64_t kOpen = 12;  // a window of 60 degrees
  alignas(64) float across[kSurfAnglePoints + 16], down[kSurfAnglePoints + 16];
  alignas(64) int32_t bins[kSurfAnglePoints + 16];
  for_each_wavelet(window, weights.angle_u, weights.angle_v, kSurfAnglePoints,
                   [&](int64_t i, int lanes, F32 dx, F32 dy) {
                     const F32 weight = load_lanes(weights.angle + i, lanes);
                     const F32 a = dx * weight, b = dy * weight;
                     a.store(across + i), b.store(down + i);
                     to_i32(direction(a, b) * F32::set(kSurfDirections / 360.0f)).store(bins + i);
                   });
  // Neighbours point alike: were their sums one, each would wait for the one before.
  constexpr int64_t kParts = 4;
  alignas(64) float sums[kParts][2][kSurfDirections] = {};
  for (int64_t i = 0; i < kSurfAnglePoints; ++i) {
    sums[i % kParts][0][bins[i]] += across[i];
    sums[i % kParts][1][bins[i]] += down[i];
  }
  // A window of twelve is three of four.
  alignas(64) float open[2][kSurfDirections];
  for (int axis = 0; axis < 2; ++axis) {
    alignas(64) float one[kSurfDirections + kOpen], four[kSurfDirections + 8];
    for (int64_t i = 0; i < kSurfDirections; ++i)
      one[i] = (sums[0][axis][i] + sums[1][axis][i]) + (sums[2][axis][i] + sums[3][axis][i]);
    for (int64_t i = 0; i < kOpen; ++i) one[kSurfDirections + i] = one[i];
    for (int64_t i = 0; i < kSurfDirections + 8; ++i)
      four[i] = (one[i] + one[i + 1]) + (one[i + 2] + one[i + 3]);
    for (int64_t i = 0; i < kSurfDirections; ++i) open[axis][i] = (four[i] + four[i + 4]) + four[i + 8];
  }
  alignas(64) float lengths[kSurfDirections];
  F32 most = F32::zero();
  for_each_vector<float>(kSurfDirections, [&](int64_t i, int lanes) {
    const F32 x = load_lanes(open[0] + i, lanes), y = load_lanes(open[1] + i, lanes);
    const F32 length = x * x + y * y;
    most = max(length, most);
    store_lanes(length, lengths + i, lanes);
  });
  const float greatest = reduce_max(most);
  int64_t longest = 0;  // the first of them
  while (lengths[longest] < greatest) ++longest;
  *dx = open[0][longest];
  *dy = open[1][longest];
}

// Sums of a grid's wavelets over the rows of the cells that stand at one height.
template <int kValues>
inline void add_rows(const float* across, const float* down, const float* weights, float (*sums)[kSurfGrid]) {
  for_each_vector<float>(kSurfGrid, [&](int64_t u, int lanes) {
    F32 sum[kValues];
    for (F32& s : sum) s = F32::zero();
    for (int64_t row = 0; row < kSurfCell; ++row) {
      const F32 weight = F32::set(weights[row]);
      const F32 dx = load_lanes(across + row * kSurfGrid + u, lanes) * weight,
                dy = load_lanes(down + row * kSurfGrid + u, lanes) * weight;
      if constexpr (kValues == 4) {
        sum[0] = sum[0] + dx;
        sum[1] = sum[1] + dy;
        sum[2] = sum[2] + abs(dx);
        sum[3] = sum[3] + abs(dy);
      } else {
        const auto down_is_negative = dy < F32::zero(), across_is_negative = dx < F32::zero();
        const auto add = [&](int k, F32 value, auto is_second) {
          const F32 second = select(is_second, value, F32::zero());
          sum[k] = sum[k] + (value - second);
          sum[k + 2] = sum[k + 2] + second;
        };
        add(0, dx, down_is_negative), add(1, abs(dx), down_is_negative);
        add(4, dy, across_is_negative), add(5, abs(dy), across_is_negative);
      }
    }
    for (int k = 0; k < kValues; ++k) store_lanes(sum[k], sums[k] + u, lanes);
  });
}

// kValues: of each cell
template <int kValues>
inline void describe_cells(const SurfWindow& window, const SurfWeights& weights, float* values) {
  const F32 c = F32::set(window.cosine), s = F32::set(window.sine);
  alignas(64) float across[kSurfPoints + 16], down[kSurfPoints + 16];
  for_each_wavelet(window, weights.grid_u, weights.grid_v, kSurfPoints, [&](int64_t i, int, F32 dx, F32 dy) {
    (dx * c + dy * s).store(across + i);
    (dy * c - dx * s).store(down + i);
  });
  // Along the columns first, then along the rows, of all cells side by side at once.
  constexpr int64_t kAll = kSurfCells * kValues;
  alignas(64) float columns[kAll][kSurfGrid], rows[kSurfGrid][kAll];
  for (int64_t top = 0; top < kSurfCells; ++top) {
    const int64_t first = 5 * top * kSurfGrid;
    add_rows<kValues>(across + first, down + first, weights.cell, columns + top * kValues);
  }
  for (int64_t k = 0; k < kAll; k += F32::kLanes) {
    for_each_vector<float>(kSurfGrid, [&](int64_t u, int lanes) {
      F32 block[F32::kLanes];
      for (int i = 0; i < F32::kLanes; ++i) block[i] = load_lanes(columns[k + i] + u, lanes);
      transpose(block);
      for (int i = 0; i < lanes; ++i) block[i].store(rows[u + i] + k);
    });
  }
  for (int64_t left = 0; left < kSurfCells; ++left) {
    alignas(64) float sums[kAll];
    for (int64_t k = 0; k < kAll; k += F32::kLanes) {
      F32 sum = F32::zero();
      for (int64_t u = 0; u < kSurfCell; ++u)
        sum = sum + F32::load(rows[5 * left + u] + k) * F32::set(weights.cell[u]);
      sum.store(sums + k);
    }
    for (int64_t top = 0; top < kSurfCells; ++top)
      for (int64_t k = 0; k < kValues; ++k)
        values[(top * kSurfCells + left) * kValues + k] = weights.cells[top][left] * sums[top * kValues + k];
  }
}

inline void describe(const SurfWindow& window, const SurfWeights& weights, bool extended, float* values) {
  (extended ? describe_cells<8> : describe_cells<4>)(window, weights, values);
}

const SurfKernels surf = {F32::kIsaName, respond, halve, peaks, orient, describe};

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
#include <type_traits>

#include "ops/roi_pool/roi_pool.h"
#include "simd/f64-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

template <int kValue>
constexpr std::integral_constant<int, kValue> kCount{};

// Pixel indices beside values of T: their bits in a float, which has too few digits to count all pixels.
inline F32 index_vector(float, int32_t index) { return bits_as_f32(I32::set(index)); }
inline F64 index_vector(double, int32_t index) { return F64::set(index); }
inline F32 add_index(F32 index, int32_t more) { return bits_as_f32(bits_as_i32(index) + I32::set(more)); }
inline F64 add_index(F64 index, int32_t more) { return index + F64::set(more); }
inline void store_index(F32 index, int32_t* to, int lanes) {
  store_lanes(index, reinterpret_cast<float*>(to), lanes);
}
inline void store_index(F64 index, int32_t* to, int) { *to = static_cast<int32_t>(index.v); }

// One bin. kStrips strips of its rows are searched side by side, for as many chains as hide the latency of a
// select; they overlap where the rows do not divide, which a maximum does not mind.
template <int kVecs, int kStrips, class T>
[[gnu::always_inline]] inline void largest(const RoiAxis<T>& y, const RoiAxis<T>& x, int64_t y_bin,
                                           int64_t x_bin, const T* map, int64_t width, int64_t stride_h,
                                           int64_t stride_w, int lanes, T* out, int32_t* argmax) {
  constexpr int kLanes = Vec<T>::kLanes;
  const auto lanes_of = [=](int v) { return v + 1 == kVecs ? lanes : kLanes; };
  const int64_t y_begin = y.first[y_bin], rows = y.first[y_bin + 1] - y_begin;
  const int64_t x_begin = x.first[x_bin], x_end = x.first[x_bin + 1];
  const bool empty = rows == 0 || x_begin == x_end;
  const int64_t height = empty ? 0 : (rows + kStrips - 1) / kStrips;  // of a strip
  Vec<T> best[kStrips][kVecs], where[kStrips][kVecs];  // the latter from a strip's first row on
  int64_t first[kStrips];                              // its row
#pragma GCC unroll 4
  for (int s = 0; s < kStrips; ++s) {
    first[s] = s * height < rows - height ? s * height : rows - height;
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      best[s][v] = Vec<T>::set(empty ? T(0) : -static_cast<T>(__builtin_inf()));
      where[s][v] = index_vector(T(), empty ? -1 : x.index[x_begin]);
    }
  }
  const int64_t top = empty ? 0 : y.index[y_begin];  // rows are neighbours
  for (int64_t i = 0; i < height; ++i) {
    const T* row[kStrips];
#pragma GCC unroll 4
    for (int s = 0; s < kStrips; ++s) row[s] = map + (top + first[s] + i) * stride_h;
    for (int64_t j = x_begin; j < x_end; ++j) {
      const int64_t column = x.index[j] * stride_w;
      const Vec<T> index = index_vector(T(), static_cast<int32_t>(i * width + x.index[j]));
#pragma GCC unroll 4
      for (int s = 0; s < kStrips; ++s) {
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) {
          const Vec<T> value = load_lanes(row[s] + column + v * kLanes, lanes_of(v));
          const auto larger = best[s][v] < value;
          best[s][v] = select(larger, value, best[s][v]);
          where[s][v] = select(larger, index, where[s][v]);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v) {
#pragma GCC unroll 4
    for (int s = 0; s < kStrips; ++s) {
      where[s][v] = add_index(where[s][v], static_cast<int32_t>(empty ? 0 : (top + first[s]) * width));
      if (s == 0) continue;
      const auto larger = best[0][v] < best[s][v];  // of equal ones the first row's stays
      best[0][v] = select(larger, best[s][v], best[0][v]);
      where[0][v] = select(larger, where[s][v], where[0][v]);
    }
    store_lanes(best[0][v], out + v * kLanes, lanes_of(v));
    store_index(where[0][v], argmax + v * kLanes, lanes_of(v));
  }
}

template <class T>
void largest_pixels(const RoiGrid& grid, const RoiTaps<T>& taps, int64_t ph, const T* map, int64_t width,
                    int64_t stride_h, int64_t stride_w, int64_t channels, T* out, int32_t* argmax) {
  constexpr int64_t kLanes = Vec<T>::kLanes;
  const int64_t rows = taps.y.first[ph + 1] - taps.y.first[ph];
  for (int64_t pw = 0; pw < grid.w; ++pw, out += channels, argmax += channels) {
    int64_t c = 0;
    const auto take = [&](auto vectors, auto strips, int lanes) __attribute__((always_inline)) {
      largest<vectors, strips>(taps.y, taps.x, ph, pw, map + c, width, stride_h, stride_w, lanes, out + c,
                               argmax + c);
      c += (vectors - 1) * kLanes + lanes;
    };
    while (c + 4 * kLanes <= channels) take(kCount<4>, kCount<1>, kLanes);
    while (c + 2 * kLanes <= channels)
      rows > 3 ? take(kCount<2>, kCount<2>, kLanes) : take(kCount<2>, kCount<1>, kLanes);
    while (c < channels) {
      const int lanes = static_cast<int>(channels - c < kLanes ? channels - c : kLanes);
      rows > 3 ? take(kCount<1>, kCount<4>, lanes) : take(kCount<1>, kCount<1>, lanes);
    }
  }
}

const RoiPoolKernels roi_pool = {F32::kIsaName, largest_pixels<float>, largest_pixels<double>};

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
#include "ops/roi_pool/roi_pool.h"
#include "simd/f64-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Pixel indices beside values of T: their bits in a float, which has too few digits to count all pixels.
inline F32 index_vector(float, int32_t index) { return bits_as_f32(I32::set(index)); }
inline F64 index_vector(double, int32_t index) { return F64::set(index); }
inline void store_index(F32 index, int32_t* to, int lanes) {
  store_lanes(index, reinterpret_cast<float*>(to), lanes);
}
inline void store_index(F64 index, int32_t* to, int) { *to = static_cast<int32_t>(index.v); }

template <int kVecs, class T>
[[gnu::always_inline]] inline void largest(const RoiAxis<T>& y, const RoiAxis<T>& x, int64_t y_bin,
                                           int64_t x_bin, const T* map, int64_t width, int64_t stride_h,
                                           int64_t stride_w, int lanes, T* out, int32_t* argmax) {
  constexpr int kLanes = Vec<T>::kLanes;
  const auto lanes_of = [=](int v) { return v + 1 == kVecs ? lanes : kLanes; };
  const int64_t y_begin = y.first[y_bin], y_end = y.first[y_bin + 1];
  const int64_t x_begin = x.first[x_bin], x_end = x.first[x_bin + 1];
  const bool empty = y_begin == y_end || x_begin == x_end;
  Vec<T> best[kVecs], where[kVecs];
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v) {
    best[v] = Vec<T>::set(empty ? T(0) : -static_cast<T>(__builtin_inf()));
    where[v] =
        index_vector(T(), empty ? -1 : static_cast<int32_t>(y.index[y_begin] * width + x.index[x_begin]));
  }
  for (int64_t i = y_begin; i < y_end; ++i) {
    for (int64_t j = x_begin; j < x_end; ++j) {
      const T* const pixel = map + y.index[i] * stride_h + x.index[j] * stride_w;
      const Vec<T> index = index_vector(T(), static_cast<int32_t>(y.index[i] * width + x.index[j]));
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        const Vec<T> value = load_lanes(pixel + v * kLanes, lanes_of(v));
        const auto larger = best[v] < value;
        best[v] = select(larger, value, best[v]);
        where[v] = select(larger, index, where[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVecs; ++v) {
    store_lanes(best[v], out + v * kLanes, lanes_of(v));
    store_index(where[v], argmax + v * kLanes, lanes_of(v));
  }
}

template <class T>
void largest_pixels(const RoiGrid& grid, const RoiTaps<T>& taps, int64_t ph, const T* map, int64_t width,
                    int64_t stride_h, int64_t stride_w, int64_t channels, T* out, int32_t* argmax) {
  constexpr int64_t kLanes = Vec<T>::kLanes;
  for (int64_t pw = 0; pw < grid.w; ++pw, out += channels, argmax += channels) {
    int64_t c = 0;
    for (; c + 4 * kLanes <= channels; c += 4 * kLanes)  // as many chains hide the latency of a select
      largest<4>(taps.y, taps.x, ph, pw, map + c, width, stride_h, stride_w, kLanes, out + c, argmax + c);
    for_each_vector<T>(channels - c, [&](int64_t k, int lanes) {
      largest<1>(taps.y, taps.x, ph, pw, map + c + k, width, stride_h, stride_w, lanes, out + c + k,
                 argmax + c + k);
    });
  }
}

const RoiPoolKernels roi_pool = {F32::kIsaName, largest_pixels<float>, largest_pixels<double>};

}  // namespace pyvision::PYVISION_ISA_NS

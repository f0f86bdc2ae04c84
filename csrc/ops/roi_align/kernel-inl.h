// SPDX-License-Identifier: Apache-2.0
#include "ops/roi_align/roi_align.h"
#include "simd/f64-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

template <int kCount_>
struct Vectors {
  static constexpr int kCount = kCount_;
};

// Calls body(Vectors<count>, c, lanes) for blocks of `count` vectors of channels, the last of `lanes` lanes.
template <class T, class Body>
[[gnu::always_inline]] inline void for_each_channel_block(int64_t channels, Body body) {
  constexpr int64_t kLanes = Vec<T>::kLanes;
  int64_t c = 0;
  // Eight accumulators hide the latency of a multiply-add, and leave room for weight and pixel in AVX2.
  for (; c + 8 * kLanes <= channels; c += 8 * kLanes) body(Vectors<8>{}, c, static_cast<int>(kLanes));
  for (; c + 2 * kLanes <= channels; c += 2 * kLanes) body(Vectors<2>{}, c, static_cast<int>(kLanes));
  for_each_vector<T>(channels - c, [&](int64_t i, int lanes) { body(Vectors<1>{}, c + i, lanes); });
}

template <int kVecs, class T>
[[gnu::always_inline]] inline void gather_bin(const RoiAxis<T>& y, const RoiAxis<T>& x, int64_t y_bin,
                                              int64_t x_bin, const T* map, int64_t stride_h, int64_t stride_w,
                                              int lanes, T* out) {
  constexpr int kLanes = Vec<T>::kLanes;
  const auto lanes_of = [=](int v) { return v + 1 == kVecs ? lanes : kLanes; };
  Vec<T> sum[kVecs];
#pragma GCC unroll 8
  for (int v = 0; v < kVecs; ++v) sum[v] = Vec<T>::zero();
  const int64_t x_begin = x.first[x_bin], x_end = x.first[x_bin + 1];
  for (int64_t i = y.first[y_bin]; i < y.first[y_bin + 1]; ++i) {
    const T* const row = map + y.index[i] * stride_h;
    const T y_weight = y.weight[i];
    for (int64_t j = x_begin; j < x_end; ++j) {
      const T* const pixel = row + x.index[j] * stride_w;
      const Vec<T> weight = Vec<T>::set(y_weight * x.weight[j]);
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v)
        sum[v] = fma(weight, load_lanes(pixel + v * kLanes, lanes_of(v)), sum[v]);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVecs; ++v) store_lanes(sum[v], out + v * kLanes, lanes_of(v));
}

template <class T>
void gather_bins(const RoiGrid& grid, const RoiTaps<T>& taps, const T* map, int64_t stride_h,
                 int64_t stride_w, int64_t channels, T* out) {
  for (int64_t ph = 0; ph < grid.h; ++ph) {
    for (int64_t pw = 0; pw < grid.w; ++pw, out += channels) {
      for_each_channel_block<T>(
          channels, [&](auto vectors, int64_t c, int lanes) __attribute__((always_inline)) {
            gather_bin<decltype(vectors)::kCount>(taps.y, taps.x, grid.y_bin(ph, pw), grid.x_bin(ph, pw),
                                                  map + c, stride_h, stride_w, lanes, out + c);
          });
    }
  }
}

// Taps [i_begin, i_end) of the bin's rows alone. map: the first pixel of row `origin`
template <int kVecs, class T>
[[gnu::always_inline]] inline void scatter_bin(const RoiAxis<T>& y, const RoiAxis<T>& x, int64_t i_begin,
                                               int64_t i_end, int64_t x_bin, const T* grad, int64_t origin,
                                               int lanes, T* map, int64_t stride_h, int64_t stride_w) {
  constexpr int kLanes = Vec<T>::kLanes;
  const auto lanes_of = [=](int v) { return v + 1 == kVecs ? lanes : kLanes; };
  Vec<T> g[kVecs];
#pragma GCC unroll 8
  for (int v = 0; v < kVecs; ++v) g[v] = load_lanes(grad + v * kLanes, lanes_of(v));
  const int64_t x_begin = x.first[x_bin], x_end = x.first[x_bin + 1];
  for (int64_t i = i_begin; i < i_end; ++i) {
    T* const row = map + (y.index[i] - origin) * stride_h;
    const T y_weight = y.weight[i];
    for (int64_t j = x_begin; j < x_end; ++j) {
      T* const pixel = row + x.index[j] * stride_w;
      const Vec<T> weight = Vec<T>::set(y_weight * x.weight[j]);
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v)
        store_lanes(fma(weight, g[v], load_lanes<T>(pixel + v * kLanes, lanes_of(v))), pixel + v * kLanes,
                    lanes_of(v));
    }
  }
}

template <class T>
void scatter_bins(const RoiGrid& grid, const RoiTaps<T>& taps, const T* grad, int64_t channels, int64_t begin,
                  int64_t end, T* map, int64_t stride_h, int64_t stride_w) {
  for (int64_t ph = 0; ph < grid.h; ++ph) {
    for (int64_t pw = 0; pw < grid.w; ++pw) {
      const int64_t y_bin = grid.y_bin(ph, pw);
      int64_t i = taps.y.first[y_bin], i_end = taps.y.first[y_bin + 1];
      while (i < i_end && taps.y.index[i] < begin) ++i;
      while (i < i_end && taps.y.index[i_end - 1] >= end) --i_end;
      if (i == i_end) continue;
      const T* const g = grad + (ph * grid.w + pw) * channels;
      for_each_channel_block<T>(
          channels, [&](auto vectors, int64_t c, int lanes) __attribute__((always_inline)) {
            scatter_bin<decltype(vectors)::kCount>(taps.y, taps.x, i, i_end, grid.x_bin(ph, pw), g + c, begin,
                                                   lanes, map + c, stride_h, stride_w);
          });
    }
  }
}

const RoiAlignKernels roi_align = {F32::kIsaName, gather_bins<float>, gather_bins<double>,
                                   scatter_bins<float>, scatter_bins<double>};

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
#include "ops/roi_align/roi_align.h"
#include "simd/bilinear-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// A compile-time count.
template <int kCount_>
struct Count {
  static constexpr int kCount = kCount_;
};

// Calls body(Count<vectors>, c, lanes) for blocks of vectors of channels, the last of `lanes` lanes.
template <class T, class Body>
[[gnu::always_inline]] inline void for_each_channel_block(int64_t channels, Body body) {
  constexpr int64_t kLanes = Vec<T>::kLanes;
  // Sums of rows and of columns, the row weights and a factor stay in the 32 (16) registers.
  constexpr int kVecs = kLanes == 16 ? 8 : 4;
  int64_t c = 0;
  for (; c + kVecs * kLanes <= channels; c += kVecs * kLanes)
    body(Count<kVecs>{}, c, static_cast<int>(kLanes));
  for (; c + 2 * kLanes <= channels; c += 2 * kLanes) body(Count<2>{}, c, static_cast<int>(kLanes));
  for_each_vector<T>(channels - c, [&](int64_t i, int lanes) { body(Count<1>{}, c + i, lanes); });
}

// Calls body(Count<taps>), 0 standing for more than four: loops over the few taps of a bin unroll, and there
// is one branch to predict a row of bins rather than one a tap.
template <class Body>
[[gnu::always_inline]] inline void with_tap_count(int64_t taps, Body body) {
  switch (taps) {
    case 1:
      return body(Count<1>{});
    case 2:
      return body(Count<2>{});
    case 3:
      return body(Count<3>{});
    case 4:
      return body(Count<4>{});
    default:
      return body(Count<0>{});
  }
}

// One bin: a column of y taps at a time. x_begin, x_end: its x taps; rows: y taps from `y` on; kRows: as
// many, or 0
template <int kRows, int kVecs, class T>
[[gnu::always_inline]] inline void gather_bin(const int32_t* y_index, const T* y_weight, int64_t rows,
                                              const RoiAxis<T>& x, int64_t x_begin, int64_t x_end,
                                              const T* map, int64_t stride_h, int64_t stride_w, int lanes,
                                              T* out) {
  constexpr int kLanes = Vec<T>::kLanes;
  const auto lanes_of = [=](int v) { return v + 1 == kVecs ? lanes : kLanes; };
  const T* row[kRows + 1];
  Vec<T> weight[kRows + 1], sum[kVecs];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    row[i] = map + y_index[i] * stride_h;
    weight[i] = Vec<T>::set(y_weight[i]);
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVecs; ++v) sum[v] = Vec<T>::zero();
  for (int64_t j = x_begin; j < x_end; ++j) {
    const int64_t column = x.index[j] * stride_w;
    Vec<T> value[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) value[v] = Vec<T>::zero();
    const auto add = [&](Vec<T> factor, const T* pixel) __attribute__((always_inline)) {
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v)
        value[v] = fma(factor, load_lanes(pixel + v * kLanes, lanes_of(v)), value[v]);
    };
    if constexpr (kRows == 0) {
      for (int64_t i = 0; i < rows; ++i) add(Vec<T>::set(y_weight[i]), map + y_index[i] * stride_h + column);
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) add(weight[i], row[i] + column);
    }
    const Vec<T> factor = Vec<T>::set(x.weight[j]);
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) sum[v] = fma(factor, value[v], sum[v]);
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVecs; ++v) store_lanes(sum[v], out + v * kLanes, lanes_of(v));
}

template <class T>
void gather_bins(const RoiGrid& grid, const RoiTaps<T>& taps, int64_t ph, const T* map, int64_t stride_h,
                 int64_t stride_w, int64_t channels, T* out) {
  for (int64_t pw = 0; pw < grid.w; ++pw, out += channels) {
    const int64_t y_bin = grid.y_bin(ph, pw), x_bin = grid.x_bin(ph, pw);
    const int64_t y_begin = taps.y.first[y_bin], rows = taps.y.first[y_bin + 1] - y_begin;
    const int64_t x_begin = taps.x.first[x_bin], x_end = taps.x.first[x_bin + 1];
    with_tap_count(rows, [&](auto count) __attribute__((always_inline)) {
      for_each_channel_block<T>(channels,
                                [&](auto vectors, int64_t c, int lanes) __attribute__((always_inline)) {
                                  gather_bin<decltype(count)::kCount, decltype(vectors)::kCount>(
                                      taps.y.index + y_begin, taps.y.weight + y_begin, rows, taps.x, x_begin,
                                      x_end, map + c, stride_h, stride_w, lanes, out + c);
                                });
    });
  }
}

// The same of the transpose.
template <int kRows, int kVecs, class T>
[[gnu::always_inline]] inline void scatter_bin(const int32_t* y_index, const T* y_weight, int64_t rows,
                                               const RoiAxis<T>& x, int64_t x_begin, int64_t x_end,
                                               const T* grad, int lanes, T* map, int64_t stride_h,
                                               int64_t stride_w) {
  constexpr int kLanes = Vec<T>::kLanes;
  const auto lanes_of = [=](int v) { return v + 1 == kVecs ? lanes : kLanes; };
  T* row[kRows + 1];
  Vec<T> weight[kRows + 1], g[kVecs];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    row[i] = map + y_index[i] * stride_h;
    weight[i] = Vec<T>::set(y_weight[i]);
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVecs; ++v) g[v] = load_lanes(grad + v * kLanes, lanes_of(v));
  for (int64_t j = x_begin; j < x_end; ++j) {
    const int64_t column = x.index[j] * stride_w;
    const Vec<T> factor = Vec<T>::set(x.weight[j]);
    Vec<T> value[kVecs];
#pragma GCC unroll 8
    for (int v = 0; v < kVecs; ++v) value[v] = factor * g[v];
    const auto add = [&](Vec<T> y_factor, T* pixel) __attribute__((always_inline)) {
#pragma GCC unroll 8
      for (int v = 0; v < kVecs; ++v)
        store_lanes(fma(y_factor, value[v], load_lanes<T>(pixel + v * kLanes, lanes_of(v))),
                    pixel + v * kLanes, lanes_of(v));
    };
    if constexpr (kRows == 0) {
      for (int64_t i = 0; i < rows; ++i) add(Vec<T>::set(y_weight[i]), map + y_index[i] * stride_h + column);
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) add(weight[i], row[i] + column);
    }
  }
}

template <class T>
void scatter_bins(const RoiGrid& grid, const RoiTaps<T>& taps, const T* grad, int64_t channels, int64_t begin,
                  int64_t end, T* map, int64_t stride_h, int64_t stride_w) {
  for (int64_t ph = 0; ph < grid.h; ++ph) {
    for (int64_t pw = 0; pw < grid.w; ++pw) {
      const int64_t y_bin = grid.y_bin(ph, pw), x_bin = grid.x_bin(ph, pw);
      int64_t i = taps.y.first[y_bin], i_end = taps.y.first[y_bin + 1];
      while (i < i_end && taps.y.index[i] < begin) ++i;
      while (i < i_end && taps.y.index[i_end - 1] >= end) --i_end;
      if (i == i_end) continue;
      const T* const g = grad + (ph * grid.w + pw) * channels;
      T* const first_row = map - begin * stride_h;
      with_tap_count(i_end - i, [&](auto count) __attribute__((always_inline)) {
        for_each_channel_block<T>(
            channels, [&](auto vectors, int64_t c, int lanes) __attribute__((always_inline)) {
              scatter_bin<decltype(count)::kCount, decltype(vectors)::kCount>(
                  taps.y.index + i, taps.y.weight + i, i_end - i, taps.x, taps.x.first[x_bin],
                  taps.x.first[x_bin + 1], g + c, lanes, first_row + c, stride_h, stride_w);
            });
      });
    }
  }
}

constexpr int64_t kMaximumBlock = 64;  // channels that are sampled into one buffer on the stack

template <class T>
inline Bilinear<T> sample_at(const SampledImage<const T>& image, T y, T x) {
  return bilinear<false>(y, x, image.h, image.w, image.stride_h, image.stride_w);
}

template <class T>
void maximum_bins(const RoiGrid& grid, const RoiTaps<T>& samples, int64_t ph,
                  const SampledImage<const T>& image, int64_t channels, T* out) {
  const RoiAxis<T>&y = samples.y, &x = samples.x;
  T values[kMaximumBlock];
  for (int64_t pw = 0; pw < grid.w; ++pw, out += channels) {
    for (int64_t c = 0; c < channels; c += kMaximumBlock) {
      const int64_t count = channels - c < kMaximumBlock ? channels - c : kMaximumBlock;
      bool first = true;
      for (int64_t i = y.first[ph]; i < y.first[ph + 1]; ++i) {
        for (int64_t j = x.first[pw]; j < x.first[pw + 1]; ++j, first = false) {
          blend_corners(sample_at(image, y.weight[i], x.weight[j]), T(1), image.data + c, count,
                        first ? out + c : values);
          if (first) continue;
          for_each_vector<T>(count, [&](int64_t k, int lanes) {
            const Vec<T> best = load_lanes<T>(out + c + k, lanes);
            store_lanes(max(load_lanes<T>(values + k, lanes), best), out + c + k, lanes);
          });
        }
      }
      for (int64_t k = 0; first && k < count; ++k) out[c + k] = 0;  // no samples
    }
  }
}

template <class T>
void scatter_maximum(const RoiGrid& grid, const RoiTaps<T>& samples, const SampledImage<const T>& image,
                     int64_t channels, const T* grad, int64_t grad_stride, T* grad_image) {
  const RoiAxis<T>&y = samples.y, &x = samples.x;
  T values[kMaximumBlock], best[kMaximumBlock];
  int64_t best_y[kMaximumBlock], best_x[kMaximumBlock];
  for (int64_t bin = 0; bin < grid.bins(); ++bin, grad += grad_stride) {
    const int64_t ph = bin / grid.w, pw = bin % grid.w;
    for (int64_t c = 0; c < channels; c += kMaximumBlock) {
      const int64_t count = channels - c < kMaximumBlock ? channels - c : kMaximumBlock;
      bool first = true;
      for (int64_t i = y.first[ph]; i < y.first[ph + 1]; ++i) {
        for (int64_t j = x.first[pw]; j < x.first[pw + 1]; ++j, first = false) {
          blend_corners(sample_at(image, y.weight[i], x.weight[j]), T(1), image.data + c, count, values);
          for (int64_t k = 0; k < count; ++k)
            if (first || values[k] > best[k]) best[k] = values[k], best_y[k] = i, best_x[k] = j;
        }
      }
      for (int64_t k = 0; !first && k < count; ++k) {
        const Bilinear<T> sample = sample_at(image, y.weight[best_y[k]], x.weight[best_x[k]]);
        for (int corner = 0; corner < sample.corners; ++corner)
          grad_image[sample.offset[corner] + c + k] += sample.weight[corner] * grad[c + k];
      }
    }
  }
}

const RoiAlignKernels roi_align = {F32::kIsaName,        gather_bins<float>,     gather_bins<double>,
                                   scatter_bins<float>,  scatter_bins<double>,   maximum_bins<float>,
                                   maximum_bins<double>, scatter_maximum<float>, scatter_maximum<double>};

}  // namespace pyvision::PYVISION_ISA_NS

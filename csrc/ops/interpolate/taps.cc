// SPDX-License-Identifier: Apache-2.0
#include "ops/interpolate/taps.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/arena.h"
#include "core/parallel.h"
#include "ops/interpolate/interpolate.h"

namespace pyvision {
namespace {

template <class T>
class TapsBuilder {
 public:
  // The border's pixel stands for those beyond it, and takes their weights.
  void add_clamped(int64_t index, int64_t in, T weight) {
    index = std::clamp<int64_t>(index, 0, in - 1);
    if (static_cast<int64_t>(taps_.index.size()) > taps_.first.back() && taps_.index.back() == index)
      taps_.weight.back() += weight;
    else
      add(index, weight);
  }
  void add(int64_t index, T weight) {
    taps_.index.push_back(index);
    taps_.weight.push_back(weight);
  }
  void end_output() { taps_.first.push_back(static_cast<int64_t>(taps_.index.size())); }
  // Divides the weights of the output at hand by their sum.
  void normalise() {
    const auto begin = taps_.weight.begin() + taps_.first.back();
    T sum = 0;
    for (auto w = begin; w != taps_.weight.end(); ++w) sum += *w;
    if (sum != 0)
      for (auto w = begin; w != taps_.weight.end(); ++w) *w /= sum;
  }
  AxisTaps<T> take() { return std::move(taps_); }

 private:
  AxisTaps<T> taps_;
};

// Keys' cubic convolution kernel at distance x; a: its slope at 1
template <class T>
T cubic(T x, T a) {
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// [0, last], compared as T: the position may lie beyond any integer.
template <class T>
int64_t floor_within(T position, int64_t last) {
  return position < static_cast<T>(last) ? static_cast<int64_t>(std::max(position, T(0))) : last;
}

// One output of a filter as wide as an output pixel is, where that is wider than an input pixel.
template <class T>
void add_antialiased(InterpolateMode mode, T step, int64_t o, int64_t in, TapsBuilder<T>* taps) {
  const bool is_cubic = mode == InterpolateMode::kBicubic;
  const T support = (is_cubic ? T(2) : T(1)) * std::max(step, T(1)), inverse = 1 / std::max(step, T(1));
  const T center = step * (static_cast<T>(o) + T(0.5));
  const int64_t begin = floor_within(center - support + T(0.5), in),
                end = floor_within(center + support + T(0.5), in);
  for (int64_t i = begin; i < end; ++i) {
    const T x = (static_cast<T>(i) - center + T(0.5)) * inverse;
    taps->add(i, is_cubic ? cubic(x, T(-0.5)) : std::max(1 - std::abs(x), T(0)));
  }
  taps->normalise();
}

// Sums of rows, or of pixels of one row, in f32 by an ISA's kernels and in f64 by loops.
void sum_rows(const float* x, const AxisTaps<float>& taps, int64_t at, int64_t stride_h, int64_t stride_w,
              float* row, int64_t count, int64_t channels) {
  const int64_t first = taps.first[static_cast<size_t>(at)];
  interpolate_kernels().sum_rows(x, taps.index.data() + first, taps.weight.data() + first,
                                 taps.first[static_cast<size_t>(at) + 1] - first, stride_h, stride_w, row,
                                 count, channels);
}
void sum_rows(const double* x, const AxisTaps<double>& taps, int64_t at, int64_t stride_h, int64_t stride_w,
              double* row, int64_t count, int64_t channels) {
  std::fill_n(row, count * channels, 0.0);
  for (auto k = static_cast<size_t>(taps.first[static_cast<size_t>(at)]);
       k < static_cast<size_t>(taps.first[static_cast<size_t>(at) + 1]); ++k) {
    const double* const from = x + taps.index[k] * stride_h;
    for (int64_t p = 0; p < count; ++p)
      for (int64_t c = 0; c < channels; ++c) row[p * channels + c] += taps.weight[k] * from[p * stride_w + c];
  }
}

void sum_pixels(const float* row, const AxisTaps<float>& taps, const float* addend, int64_t addend_step,
                float* y, int64_t y_step, int64_t channels) {
  interpolate_kernels().sum_pixels(row, taps.first.data(), taps.index.data(), taps.weight.data(), addend,
                                   addend_step, y, y_step, taps.outputs(), channels);
}
void sum_pixels(const double* row, const AxisTaps<double>& taps, const double* addend, int64_t addend_step,
                double* y, int64_t y_step, int64_t channels) {
  for (int64_t p = 0; p < taps.outputs(); ++p) {
    for (int64_t c = 0; c < channels; ++c) {
      double sum = 0;
      for (auto k = static_cast<size_t>(taps.first[static_cast<size_t>(p)]);
           k < static_cast<size_t>(taps.first[static_cast<size_t>(p) + 1]); ++k)
        sum += taps.weight[k] * row[taps.index[k] * channels + c];
      y[p * y_step + c] = addend != nullptr ? sum + addend[p * addend_step + c] : sum;
    }
  }
}

}  // namespace

template <class T>
AxisTaps<T> interpolate_taps(const InterpolateParams& params, double stated_scale, int64_t in, int64_t out) {
  const T step = interpolate_step<T>(params, stated_scale, in, out);
  TapsBuilder<T> taps;
  for (int64_t i = 0; i < out; ++i) {
    const auto o = static_cast<T>(i);
    const T position = params.align_corners ? o * step : (o + T(0.5)) * step - T(0.5);
    if (params.antialias) {
      add_antialiased(params.mode, step, i, in, &taps);
    } else if (params.mode == InterpolateMode::kArea) {
      const int64_t begin = i * in / out, end = ((i + 1) * in + out - 1) / out;
      for (int64_t k = begin; k < end; ++k) taps.add(k, 1 / static_cast<T>(end - begin));
    } else if (params.mode == InterpolateMode::kBicubic) {
      // Compared as T, and between positions from which on every tap is the border's.
      const T within = std::clamp(position, T(-3), static_cast<T>(in + 3)), low = std::floor(within);
      for (int64_t k = -1; k <= 2; ++k)
        taps.add_clamped(static_cast<int64_t>(low) + k, in,
                         cubic(within - low - static_cast<T>(k), T(-0.75)));
    } else if (params.mode == InterpolateMode::kBilinear) {
      const int64_t low = floor_within(position, in - 1);
      const T weight = std::clamp(std::max(position, T(0)) - static_cast<T>(low), T(0), T(1));
      taps.add(low, 1 - weight);
      taps.add_clamped(low + 1, in, weight);
    } else {  // in f32 whatever T is, as torch's
      const float at = static_cast<float>(i) + (params.mode == InterpolateMode::kNearest ? 0.0f : 0.5f);
      taps.add(floor_within(at * interpolate_step(params, stated_scale, in, out), in - 1), T(1));
    }
    taps.end_output();
  }
  return taps.take();
}

template <class T>
AxisTaps<T> transposed(const AxisTaps<T>& taps, int64_t in) {
  AxisTaps<T> t;
  t.first.assign(static_cast<size_t>(in) + 1, 0);
  for (const int64_t index : taps.index) ++t.first[static_cast<size_t>(index) + 1];
  for (size_t i = 1; i < t.first.size(); ++i) t.first[i] += t.first[i - 1];
  t.index.resize(taps.index.size());
  t.weight.resize(taps.index.size());
  std::vector<int64_t> next(t.first.begin(), t.first.end() - 1);
  for (int64_t i = 0; i < taps.outputs(); ++i) {
    for (auto k = static_cast<size_t>(taps.first[static_cast<size_t>(i)]);
         k < static_cast<size_t>(taps.first[static_cast<size_t>(i) + 1]); ++k) {
      const auto at = static_cast<size_t>(next[static_cast<size_t>(taps.index[k])]++);
      t.index[at] = i;
      t.weight[at] = taps.weight[k];
    }
  }
  return t;
}

template <class T>
void resample(const AxisTaps<T>& rows, const AxisTaps<T>& columns, const Nhwc<const T>& x,
              const Nhwc<const T>* addend, const Nhwc<T>& y) {
  if (y.pixels() * y.c == 0) return;
  const int64_t grain = std::max<int64_t>(1, (1 << 14) / (y.w * y.c));  // about 10 us each
  parallel_for(y.n * y.h, grain, [&](int64_t begin, int64_t end) {
    const Scratch<T> row(x.w * x.c);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / y.h, oh = i % y.h;  // [0, n), [0, h)
      sum_rows(x.at(n, 0, 0), rows, oh, x.stride_h, x.stride_w, row.get(), x.w, x.c);
      sum_pixels(row.get(), columns, addend != nullptr ? addend->at(n, oh, 0) : nullptr,
                 addend != nullptr ? addend->stride_w : 0, y.at(n, oh, 0), y.stride_w, y.c);
    }
  });
}

#define PYVISION_INSTANTIATE(T)                                                                              \
  template AxisTaps<T> interpolate_taps(const InterpolateParams&, double, int64_t, int64_t);                 \
  template AxisTaps<T> transposed(const AxisTaps<T>&, int64_t);                                              \
  template void resample(const AxisTaps<T>&, const AxisTaps<T>&, const Nhwc<const T>&, const Nhwc<const T>*, \
                         const Nhwc<T>&);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision

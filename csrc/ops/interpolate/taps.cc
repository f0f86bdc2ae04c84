// SPDX-License-Identifier: Apache-2.0
#include "ops/interpolate/taps.h"

#include <algorithm>

#include "core/arena.h"
#include "core/parallel.h"
#include "ops/interpolate/filter.h"
#include "ops/interpolate/interpolate.h"

namespace pyvision {
namespace {

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
  const AxisFilter<T> filter(params, stated_scale, in, out);
  AxisTaps<T> taps;
  std::vector<T> weights(static_cast<size_t>(filter.most_taps()));
  for (int64_t o = 0; o < out; ++o) {
    TapRun<T> run(weights.data());
    filter.take(o, &run);
    for (int64_t k = 0; k < run.count; ++k) taps.index.push_back(run.begin + k);
    taps.weight.insert(taps.weight.end(), run.weight, run.weight + run.count);
    taps.first.push_back(static_cast<int64_t>(taps.index.size()));
  }
  return taps;
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

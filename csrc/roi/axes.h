// SPDX-License-Identifier: Apache-2.0
// The taps that boxes have along one axis of `extent` pixels.
#pragma once

#include <cmath>

#include "roi/regions.h"

namespace pyvision {

// A box along one axis, after scaling; one bin spans `bin` pixels and has `samples` samples.
template <class T>
struct SampledAxis {
  T start, bin;
  int64_t samples;

  // sampling_ratio <= 0: as many samples as the bin has pixels, rounded up
  SampledAxis(T start, T size, int64_t bins, int64_t sampling_ratio)
      : start(start),
        bin(size / static_cast<T>(bins)),
        samples(sampling_ratio > 0 ? sampling_ratio : count_of(std::ceil(size / static_cast<T>(bins)))) {}

  T position(int64_t index, int64_t i) const {
    return start + static_cast<T>(index) * bin + (static_cast<T>(i) + T(0.5)) * bin / static_cast<T>(samples);
  }

 private:
  static int64_t count_of(T samples) {
    return samples >= T(0x1p53) ? int64_t{1} << 53 : samples > 0 ? static_cast<int64_t>(samples) : 0;
  }
};

// Calls visit(position) for the samples of bin `index` within [-1, extent], by rising position. Where there
// are many, those far outside are not even counted: a box may be 1e30 pixels large.
template <class T, class Visit>
void for_each_sample(const SampledAxis<T>& axis, int64_t index, int64_t extent, Visit visit) {
  const double start = static_cast<double>(axis.start) + static_cast<double>(index) * axis.bin;
  const double step = static_cast<double>(axis.bin) / static_cast<double>(axis.samples);
  if (axis.samples <= 0 || !std::isfinite(start) || !std::isfinite(step)) return;
  int64_t begin = 0, end = axis.samples;
  if (axis.samples > 8 && step != 0) {  // one sample more on either side, as positions are rounded
    const double a = (-1 - start) / step, b = (static_cast<double>(extent) - start) / step;
    const double last = static_cast<double>(axis.samples);
    begin = static_cast<int64_t>(std::clamp(std::floor(std::min(a, b)) - 2, 0.0, last));
    end = static_cast<int64_t>(std::clamp(std::ceil(std::max(a, b)) + 2, 0.0, last));
  }
  for (int64_t i = begin; i < end; ++i) {
    const T position = axis.position(index, step < 0 ? begin + end - 1 - i : i);
    if (position >= -1 && position <= static_cast<T>(extent)) visit(position);
  }
}

// Where a sample in [-1, extent] lies, on the border if beyond it: pixels low and low + 1, of which the
// latter is the last pixel again at the end.
template <class T>
struct SampleCell {
  int64_t low, high;
  T fraction;
  bool inside;  // not moved to the border

  SampleCell(T position, int64_t extent)
      : low(std::min(static_cast<int64_t>(std::max(position, T(0))), extent - 1)),
        high(std::min(low + 1, extent - 1)),
        fraction(std::min(std::max(position, T(0)), static_cast<T>(extent - 1)) - static_cast<T>(low)),
        inside(position > 0 && high > low) {}
};

// `factor` times the mean of the samples of one bin.
template <class T>
void add_sampled_bin(const SampledAxis<T>& axis, int64_t index, int64_t extent, T factor,
                     AxisBuilder<T>* taps) {
  const T share = factor / static_cast<T>(axis.samples);
  for_each_sample(axis, index, extent, [&](T position) {
    const SampleCell<T> cell(position, extent);
    taps->add(cell.low, (1 - cell.fraction) * share);
    taps->add(cell.high, cell.fraction * share);
  });
  taps->end_bin();
}

// Its derivative by `start`.
template <class T>
void add_sampled_slope(const SampledAxis<T>& axis, int64_t index, int64_t extent, T factor,
                       AxisBuilder<T>* taps) {
  const T share = factor / static_cast<T>(axis.samples);
  for_each_sample(axis, index, extent, [&](T position) {
    const SampleCell<T> cell(position, extent);
    if (!cell.inside) return;
    taps->add(cell.low, -share);
    taps->add(cell.high, share);
  });
  taps->end_bin();
}

// A box (x1, y1, x2, y2), scaled and shifted, as RoI Align cuts it.
template <class T>
struct SampledBox {
  SampledAxis<T> y, x;

  SampledBox(const T* corners, double scale, T shift, T least_size, const RoiGrid& grid,
             int64_t sampling_ratio)
      : SampledBox(corners[0] * static_cast<T>(scale) - shift, corners[1] * static_cast<T>(scale) - shift,
                   corners[2] * static_cast<T>(scale) - shift, corners[3] * static_cast<T>(scale) - shift,
                   least_size, grid, sampling_ratio) {}

 private:
  SampledBox(T x1, T y1, T x2, T y2, T least_size, const RoiGrid& grid, int64_t sampling_ratio)
      : y(y1, std::max(y2 - y1, least_size), grid.h, sampling_ratio),
        x(x1, std::max(x2 - x1, least_size), grid.w, sampling_ratio) {}
};

// Pixels [begin, end), clipped to [0, limit), `share(count)` each.
template <class T, class Share>
void add_range(T begin, T end, int64_t limit, AxisBuilder<T>* taps, Share share) {
  const T top = static_cast<T>(limit);
  if (begin < end) {  // not NaN, as of a box that is too large for T
    const auto first = static_cast<int64_t>(std::clamp(begin, T(0), top));
    const auto last = static_cast<int64_t>(std::clamp(end, T(0), top));
    for (int64_t i = first; i < last; ++i) taps->append(i, share(last - first));
  }
  taps->end_bin();
}

}  // namespace pyvision

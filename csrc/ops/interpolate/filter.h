// SPDX-License-Identifier: Apache-2.0
// What every output position of interpolate.h takes along one axis, for the CPU and the GPU alike.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/device.h"
#include "ops/interpolate/params.h"

namespace pyvision {

// weight[k] of input position begin + k, k in [0, count)
template <class T>
struct TapRun {
  int64_t begin = 0;
  T* weight;
  int64_t count = 0;

  // room: for AxisFilter::most_taps()
  PYVISION_HOST_DEVICE explicit TapRun(T* room) : weight(room) {}

  PYVISION_DEVICE void add(int64_t index, T w) {
    if (count == 0) begin = index;
    weight[count++] = w;
  }
  // The border's pixel stands for those beyond it, and takes their weights.
  PYVISION_DEVICE void add_clamped(int64_t index, int64_t in, T w) {
    index = index < 0 ? 0 : index < in ? index : in - 1;
    if (count > 0 && begin + count - 1 == index)
      weight[count - 1] += w;
    else
      add(index, w);
  }
  // Divides the weights by their sum.
  PYVISION_DEVICE void normalise() {
    T sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += weight[k];
    if (sum != 0)
      for (int64_t k = 0; k < count; ++k) weight[k] /= sum;
  }
};

template <class T>
struct AxisFilter {
  InterpolateMode mode;
  bool align_corners, antialias;
  int64_t in, out;
  T step;
  float nearest_step;  // in f32 whatever T is, as torch's

  // stated_scale: as interpolate_step's
  AxisFilter(const InterpolateParams& params, double stated_scale, int64_t in, int64_t out)
      : mode(params.mode),
        align_corners(params.align_corners),
        antialias(params.antialias),
        in(in),
        out(out),
        step(interpolate_step<T>(params, stated_scale, in, out)),
        nearest_step(interpolate_step(params, stated_scale, in, out)) {}

  int64_t most_taps() const {
    int64_t most = 4;  // of bicubic
    if (mode == InterpolateMode::kArea) most = (in + out - 1) / out + 1;
    if (antialias) {
      const double wide = 2 * static_cast<double>(support());
      if (!(wide < static_cast<double>(in))) return in;
      most = static_cast<int64_t>(wide) + 3 + (in >> 20);  // the last for what f32 rounds of long axes
    }
    return most < in ? most : in;
  }

  // What output position o takes, [0, out); begin does not fall with o, nor does begin + count.
  PYVISION_DEVICE void take(int64_t o, TapRun<T>* run) const {
    const auto at = static_cast<T>(o);
    const T position = align_corners ? at * step : (at + T(0.5)) * step - T(0.5);
    if (antialias) {
      take_antialiased(at, run);
    } else if (mode == InterpolateMode::kArea) {
      const int64_t begin = o * in / out, end = ((o + 1) * in + out - 1) / out;
      for (int64_t i = begin; i < end; ++i) run->add(i, 1 / static_cast<T>(end - begin));
    } else if (mode == InterpolateMode::kBicubic) {
      // Compared as T, and between positions from which on every tap is the border's.
      const T within = clamped(position, T(-3), static_cast<T>(in + 3)), low = std::floor(within);
      for (int64_t k = -1; k <= 2; ++k)
        run->add_clamped(static_cast<int64_t>(low) + k, in,
                         cubic(within - low - static_cast<T>(k), T(-0.75)));
    } else if (mode == InterpolateMode::kBilinear) {
      const int64_t low = floor_within(position, in - 1);
      const T weight = clamped((position > 0 ? position : T(0)) - static_cast<T>(low), T(0), T(1));
      run->add(low, 1 - weight);
      run->add_clamped(low + 1, in, weight);
    } else {
      const float nearest = static_cast<float>(o) + (mode == InterpolateMode::kNearest ? 0.0f : 0.5f);
      run->add(floor_within(nearest * nearest_step, in - 1), T(1));
    }
  }

 private:
  // A filter as wide as an output pixel is, where that is wider than an input pixel.
  PYVISION_DEVICE void take_antialiased(T at, TapRun<T>* run) const {
    const T wide = support(), inverse = 1 / (step > 1 ? step : T(1)), center = step * (at + T(0.5));
    const int64_t begin = floor_within(center - wide + T(0.5), in),
                  end = floor_within(center + wide + T(0.5), in);
    run->begin = begin;  // of no taps, too
    for (int64_t i = begin; i < end; ++i) {
      const T x = (static_cast<T>(i) - center + T(0.5)) * inverse, hat = 1 - std::abs(x);
      run->add(i, mode == InterpolateMode::kBicubic ? cubic(x, T(-0.5)) : hat > 0 ? hat : T(0));
    }
    run->normalise();
  }
  // From a filter's centre to its end.
  PYVISION_HOST_DEVICE T support() const {
    return (mode == InterpolateMode::kBicubic ? T(2) : T(1)) * (step > 1 ? step : T(1));
  }
  // Keys' cubic convolution kernel at distance x; a: its slope at 1
  PYVISION_DEVICE static T cubic(T x, T a) {
    x = std::abs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
  }
  // [0, last], compared as U: the position may lie beyond any integer.
  template <class U>
  PYVISION_DEVICE static int64_t floor_within(U position, int64_t last) {
    if (!(position < static_cast<U>(last))) return last;
    return position > 0 ? static_cast<int64_t>(position) : 0;
  }
  PYVISION_DEVICE static T clamped(T x, T least, T most) { return x < least ? least : x > most ? most : x; }
};

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// Where scores are highest between pixels and between layers.
#pragma once

#include "core/device.h"
#include "ops/brisk/params.h"

namespace pyvision {

struct BriskPeak {
  double x, y, value;
};

PYVISION_DEVICE double clamped(double x, double least, double most) {
  return x < least ? least : most < x ? most : x;
}

// The maximum of the parabola fitted to nine scores, at most a pixel away from the middle one, or that where
// there is none. score(dx, dy): an int, of [-1, 1] each
template <class Scores>
PYVISION_DEVICE BriskPeak fitted_peak(const Scores& score) {
  int all = 0, u = 0, v = 0, uu = 0, vv = 0, uv = 0;
  for (int dy = -1; dy <= 1; ++dy) {
    for (int dx = -1; dx <= 1; ++dx) {
      const int f = score(dx, dy);
      all += f, u += dx * f, v += dy * f, uu += dx * dx * f, vv += dy * dy * f, uv += dx * dy * f;
    }
  }
  // Least squares: f = p + q x + r y + xx x^2 + yy y^2 + xy x y.
  const double p = (5.0 * all - 3.0 * uu - 3.0 * vv) / 9, q = u / 6.0, r = v / 6.0, xx = uu / 2.0 - all / 3.0,
               yy = vv / 2.0 - all / 3.0, xy = uv / 4.0;
  const double det = 4 * xx * yy - xy * xy;
  if (!(det > 0 && xx < 0)) return {0, 0, static_cast<double>(score(0, 0))};
  const double dx = clamped((xy * r - 2 * yy * q) / det, -1, 1),
               dy = clamped((xy * q - 2 * xx * r) / det, -1, 1);
  return {dx, dy, p + q * dx + r * dy + xx * dx * dx + yy * dy * dy + xy * dx * dy};
}

// Where the parabola through three values has its maximum between the first and the last, and that maximum.
PYVISION_DEVICE double highest(const double (&at)[3], const double (&value)[3], double* maximum) {
  const double first = (value[1] - value[0]) / (at[1] - at[0]),
               second = (value[2] - value[1]) / (at[2] - at[1]);
  const double a = (second - first) / (at[2] - at[0]);
  if (a >= 0) {
    int greatest = 0;
    for (int i = 1; i < 3; ++i)
      if (value[greatest] < value[i]) greatest = i;
    *maximum = value[greatest];
    return at[greatest];
  }
  const double b = first - a * (at[0] + at[1]);
  const double t = clamped(-b / (2 * a), at[0], at[2]);
  *maximum = value[0] + (t - at[0]) * (first + a * (t - at[1]));
  return t;
}

// The peak between a layer's and those of the layers below and above it, whose scales are that many of its
// own; and at which of its scales.
PYVISION_DEVICE BriskPeak peak_between(const BriskPeak& below, const BriskPeak& own, const BriskPeak& above,
                                       double scale_below, double scale_above, double* scale) {
  const double at[3] = {scale_below, 1, scale_above}, values[3] = {below.value, own.value, above.value};
  BriskPeak peak = own;
  *scale = highest(at, values, &peak.value);
  const BriskPeak& other = *scale > 1 ? above : below;
  const double share = *scale > 1 ? (*scale - 1) / (at[2] - 1) : (1 - *scale) / (1 - at[0]);
  peak.x += share * (other.x - own.x);
  peak.y += share * (other.y - own.y);
  return peak;
}

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// The parabola through the neighbours of a point in three dimensions: a picture's two, and its scales.
#pragma once

#include <cmath>

#include "core/device.h"

namespace pyvision {

struct Parabola3 {
  double value, dx, dy, ds;       // and the gradient
  double xx, xy, xs, yy, ys, ss;  // the second derivatives

  // To where the gradient vanishes, by Cramer's rule. Returns the longest of the three, or NaN where there is
  // no such place.
  PYVISION_DEVICE double step_to_extremum(double step[3]) const {
    const double c00 = yy * ss - ys * ys, c01 = xs * ys - xy * ss, c02 = xy * ys - yy * xs;
    const double c11 = xx * ss - xs * xs, c12 = xy * xs - xx * ys, c22 = xx * yy - xy * xy;
    const double det = xx * c00 + xy * c01 + xs * c02;
    step[0] = -(c00 * dx + c01 * dy + c02 * ds) / det;
    step[1] = -(c01 * dx + c11 * dy + c12 * ds) / det;
    step[2] = -(c02 * dx + c12 * dy + c22 * ds) / det;
    double longest = std::abs(step[0]);  // which stays, if it is NaN
    for (int i = 1; i < 3; ++i)
      if (longest < std::abs(step[i])) longest = std::abs(step[i]);
    return longest;
  }
};

// By central differences; at(s, y, x): the value so many scales, rows and columns away, of [-1, 1] each.
template <class At>
PYVISION_DEVICE Parabola3 parabola_of(const At& at) {
  Parabola3 p;
  p.value = at(0, 0, 0);
  p.dx = (at(0, 0, 1) - at(0, 0, -1)) / 2, p.dy = (at(0, 1, 0) - at(0, -1, 0)) / 2;
  p.ds = (at(1, 0, 0) - at(-1, 0, 0)) / 2;
  p.xx = at(0, 0, 1) + at(0, 0, -1) - 2 * p.value, p.yy = at(0, 1, 0) + at(0, -1, 0) - 2 * p.value;
  p.ss = at(1, 0, 0) + at(-1, 0, 0) - 2 * p.value;
  p.xy = (at(0, 1, 1) - at(0, 1, -1) - at(0, -1, 1) + at(0, -1, -1)) / 4;
  p.xs = (at(1, 0, 1) - at(1, 0, -1) - at(-1, 0, 1) + at(-1, 0, -1)) / 4;
  p.ys = (at(1, 1, 0) - at(1, -1, 0) - at(-1, 1, 0) + at(-1, -1, 0)) / 4;
  return p;
}

}  // namespace pyvision

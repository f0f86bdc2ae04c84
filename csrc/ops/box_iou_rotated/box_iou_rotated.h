// SPDX-License-Identifier: Apache-2.0
// box_iou_rotated: y = I / ((A(a) + A(b)) - I), the intersection over union of rotated boxes, of every pair
// (n, m) or of one pair per row.
//
// A box is (cx, cy, w, h, angle): its sides lie along u = (cos, -sin) and v = (sin, cos) of the angle, which
// is counter-clockwise degrees on a screen whose y points down. A = w * h, and 0 unless both are positive.
//
// Both boxes are seen from the one with the larger area, whose sides are the axes there: |x| <= W, |y| <= H.
//
//        .p2.                I = | sum over the sides of the other box of
//   +--.----`p1--+                 the integral of clamp(y, -H, H) dx over its x within [-W, W] |
//   |p3`.   /    |
//   +----`p0-----+           the signed area between the clamped sides, as in the shoelace formula
//
// Every term is a continuous function of the corners, and nothing is decided by the side of a line on which a
// point lies: touching, collinear and repeated corners need no care. Boxes with a separating axis have
// exactly 0, equal boxes exactly 1, and swapping a and b changes no bit.
//
// A box with a value that is not finite has NaN with every box. float32 boxes are computed in float32, except
// when one is so large that an area could overflow (2^60) or so small that one could underflow (2^-100).
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "ops/boxes/columns.h"

namespace pyvision {

template <class T>
using RotatedColumns = Columns<T, 7>;  // cx, cy, w / 2, h / 2, cos, sin, area

template <class T>
struct BoxIouRotatedOf {
  // y[j] = overlap of the first box of a with box j of b; y: (m,)
  void (*row)(const RotatedColumns<T>& a, const RotatedColumns<T>& b, T* y, int64_t m);
  // y[j] = overlap of box j of a with box j of b; y: (m,)
  void (*matched)(const RotatedColumns<T>& a, const RotatedColumns<T>& b, T* y, int64_t m);
};

struct BoxIouRotatedKernels {
  const char* isa;
  BoxIouRotatedOf<float> f32;
  BoxIouRotatedOf<double> f64;
};

PYVISION_KERNELS(BoxIouRotatedKernels, box_iou_rotated)

// The fields of one box (cx, cy, w, h, angle), in the order of the columns.
template <class T>
void describe_rotated(const T* box, T* fields);

bool rotated_fit_f32(const float* boxes, int64_t n);  // boxes: (n, 5)

// a: (n, 5), b: (m, 5), y: (n, m), or (n,) with `matched`, where m is n. All dense. T: float or double.
template <class T>
void box_iou_rotated(const T* a, const T* b, T* y, int64_t n, int64_t m, bool matched);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// Overlap of two boxes a and b, of every pair (n, m) or of one pair per row:
//
//   iou   I / U                                 intersection over union, the Jaccard index
//   iof   I / A(a)                              intersection over foreground: how much of a lies in b
//   giou  iou - (C - U) / C                     Rezatofighi et al., "Generalized IoU", CVPR 2019
//   diou  iou - d^2 / (c^2 + eps)               Zheng et al., "Distance-IoU Loss", AAAI 2020
//   ciou  diou - v^2 / ((1 - iou) + v + eps)    the same paper
//
//   I = max(0, min(a.x2, b.x2) - max(a.x1, b.x1)) * max(0, min(a.y2, b.y2) - max(a.y1, b.y1))
//   A(a) = (a.x2 - a.x1) * (a.y2 - a.y1), and 0 where x2 <= x1 or y2 <= y1
//   U = (A(a) + A(b)) - I
//   C, c: area and diagonal of the smallest box around both; d: distance of the centres
//   v = 4 / pi^2 * (atan(w / h of a) - atan(w / h of b))^2
//
// iou and iof are 0 where I is 0, and the terms that are taken off are 0 where their divisor is. Boxes are
// (x1, y1, x2, y2) in any one unit. A box with a coordinate that is not finite has NaN with every box.
// float32 boxes are computed in float32, except with boxes so large that an area could overflow (a coordinate
// beyond 2^60) or so small that one could underflow (2^-100): those take double.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "ops/boxes/columns.h"

namespace pyvision {

enum class IouKind : uint8_t { kIou, kIof, kGiou, kDiou, kCiou };

template <class T>
using BoxColumns = Columns<T, 6>;  // x1, y1, x2, y2, area, atan(w / h), which ciou alone reads

template <class T>
struct BoxIouOf {
  // y[j] = overlap of the first box of a with box j of b; y: (m,)
  void (*row)(IouKind kind, const BoxColumns<T>& a, const BoxColumns<T>& b, T* y, int64_t m, T eps);
  // y[j] = overlap of box j of a with box j of b; y: (m,)
  void (*matched)(IouKind kind, const BoxColumns<T>& a, const BoxColumns<T>& b, T* y, int64_t m, T eps);
};

struct BoxIouKernels {
  const char* isa;
  BoxIouOf<float> f32;
  BoxIouOf<double> f64;
};

PYVISION_KERNELS(BoxIouKernels, box_iou)

template <class T>
const BoxIouOf<T>& box_iou_kernels_of();
template <>
inline const BoxIouOf<float>& box_iou_kernels_of<float>() {
  return box_iou_kernels().f32;
}
template <>
inline const BoxIouOf<double>& box_iou_kernels_of<double>() {
  return box_iou_kernels().f64;
}

// Fills row i of the columns from one box (x1, y1, x2, y2).
template <class T>
void set_box(const BoxColumns<T>& columns, int64_t i, const T* box, IouKind kind = IouKind::kIou);

// a: (n, 4), b: (m, 4), y: (n, m), or (n,) with `matched`, where m is n. All dense. T: float or double.
template <class T>
void box_iou(IouKind kind, const T* a, const T* b, T* y, int64_t n, int64_t m, bool matched, double eps);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// Boxes (x1, y1, x2, y2) relative to others, as networks predict them.
//
// encode  box g against proposal p, with centres (x, y), sizes (w, h) and weights:
//           dx = weight_x * (g.x - p.x) / p.w    dw = weight_w * log(g.w / p.w)    and so for y and h
//         Girshick et al., "Rich feature hierarchies", CVPR 2014, appendix C
// decode  its inverse, dw and dh bounded by `clip` first; several codes per proposal, one per class
#pragma once

#include <cstdint>

#include "core/dispatch.h"

namespace pyvision {

template <class T>
struct BoxCodingOf {
  // boxes, proposals: (n, 4); codes: (n, 4); weights: (4,)
  void (*encode)(const T* boxes, const T* proposals, T* codes, int64_t n, const T* weights);
  // codes: (n, per_box, 4); proposals: (n, 4); boxes: (n, per_box, 4)
  void (*decode)(const T* codes, const T* proposals, T* boxes, int64_t n, int64_t per_box, const T* weights,
                 T clip);
};

struct BoxCodingKernels {
  const char* isa;
  BoxCodingOf<float> f32;
  BoxCodingOf<double> f64;
};

PYVISION_KERNELS(BoxCodingKernels, box_coding)

// As the kernels, over threads. T: float or double.
template <class T>
void encode_boxes(const T* boxes, const T* proposals, T* codes, int64_t n, const T* weights);
template <class T>
void decode_boxes(const T* codes, const T* proposals, T* boxes, int64_t n, int64_t per_box, const T* weights,
                  T clip);

}  // namespace pyvision

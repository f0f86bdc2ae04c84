// SPDX-License-Identifier: Apache-2.0
// matrix_nms: every score falls at once, by the worst of the better boxes (or masks) of its class:
//
//   score_j *= min over i better than j of f(IoU_ij) / f(cmax_i),  cmax_i = max over k better than i of
//   IoU_ki linear f(x) = 1 - x, gaussian f(x) = exp(-sigma x^2)
//
// A box that is itself suppressed (cmax_i is high) suppresses less. Wang et al., "SOLOv2: Dynamic and Fast
// Instance Segmentation", NeurIPS 2020.
#pragma once

#include <cstdint>

#include "ops/nms/suppress.h"

namespace pyvision {

enum class MatrixNmsMethod : uint8_t { kLinear, kGaussian };

struct MatrixNmsParams {
  MatrixNmsMethod method;
  double sigma, score_threshold;
  NmsGroups groups;
};

// boxes: (n, 4), scores: (n,); keep, kept_scores: room for n, by falling new score, equal ones by rising
// index. Returns how many. Boxes with a NaN score or a coordinate that is not finite take no part.
template <class T>
int64_t matrix_nms(const T* boxes, const T* scores, int64_t n, const MatrixNmsParams& params, int64_t* keep,
                   T* kept_scores);

// masks: (n, pixels), as mask_nms.
template <class T>
int64_t mask_matrix_nms(const uint8_t* masks, int64_t pixels, const T* scores, int64_t n,
                        const MatrixNmsParams& params, int64_t* keep, T* kept_scores);

}  // namespace pyvision

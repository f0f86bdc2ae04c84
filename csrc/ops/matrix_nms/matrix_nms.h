// SPDX-License-Identifier: Apache-2.0
// matrix_nms: every score falls at once, by the worst of the better boxes (or masks) of its class:
//
//   score_j *= min over i better than j of f(IoU_ij) / f(cmax_i),  cmax_i = max over k better than i of
//   IoU_ki linear f(x) = 1 - x, gaussian f(x) = exp(-sigma x^2)
//
// A box that is itself suppressed (cmax_i is high) suppresses less. Wang et al., "SOLOv2: Dynamic and Fast
// Instance Segmentation", NeurIPS 2020.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/arena.h"

namespace pyvision {

enum class MatrixNmsMethod : uint8_t { kLinear, kGaussian };

// The factors of `size` candidates by falling score: decay[j], (size,). row(i, iou) fills the overlaps of
// candidate i with the size - i - 1 after it.
template <class T, class Row>
void matrix_nms_decay(int64_t size, MatrixNmsMethod method, T sigma, Row row, T* decay) {
  Scratch<T> iou_memory(size), most_memory(size);
  T *const iou = iou_memory, *const most = most_memory;
  std::fill_n(most, size, T{0});
  // gaussian: the least exponent, since exp(-sigma a) / exp(-sigma b) = exp(sigma (b - a))
  std::fill_n(decay, size, method == MatrixNmsMethod::kGaussian ? T{0} : T{1});
  for (int64_t i = 0; i + 1 < size; ++i) {
    row(i, iou);
    const T top = most[i];  // final: every better candidate has been
    T* const later = decay + i + 1;
    T* const later_most = most + i + 1;
    if (method == MatrixNmsMethod::kGaussian) {
      for (int64_t j = 0; j < size - i - 1; ++j) {
        const T exponent = sigma * (top * top - iou[j] * iou[j]);
        later[j] = exponent < later[j] ? exponent : later[j];
      }
    } else if (top < 1) {  // at 1 the candidate suppresses nothing
      const T inverse = 1 / (1 - top);
      for (int64_t j = 0; j < size - i - 1; ++j) {
        const T factor = (1 - iou[j]) * inverse;
        later[j] = factor < later[j] ? factor : later[j];
      }
    }
    for (int64_t j = 0; j < size - i - 1; ++j)
      later_most[j] = later_most[j] < iou[j] ? iou[j] : later_most[j];
  }
  if (method == MatrixNmsMethod::kGaussian)
    for (int64_t j = 0; j < size; ++j) decay[j] = std::exp(decay[j]);
}

}  // namespace pyvision

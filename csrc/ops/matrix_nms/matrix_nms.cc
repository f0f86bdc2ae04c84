// SPDX-License-Identifier: Apache-2.0
#include "ops/matrix_nms/matrix_nms.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "ops/box_iou/box_iou.h"
#include "ops/boxes/geometry.h"
#include "ops/mask_nms/packed_masks.h"

namespace pyvision {
namespace {

// The factors of `size` candidates by falling score: decay[j], (size,). row(i, iou) fills the overlaps of
// candidate i with the size - i - 1 after it.
template <class T, class Row>
void decays_of(int64_t size, MatrixNmsMethod method, T sigma, Row row, T* decay) {
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

// rows(indices, size, decay) fills the factors of one class by falling score.
template <class T, class Valid, class Rows>
int64_t run(const T* scores, int64_t n, const MatrixNmsParams& params, Valid valid, Rows rows, int64_t* keep,
            T* kept_scores) {
  NmsGroups groups = params.groups;
  groups.max_output = INT64_MAX;  // counted after the scores have fallen
  Scratch<T> decayed_memory(n);
  T* const decayed = decayed_memory;
  const int64_t count = suppress(
      scores, n, groups, valid,
      [&](const uint32_t* indices, int64_t size, int64_t, uint8_t* survives) {
        Scratch<T> decay(size);
        rows(indices, size, decay.get());
        for (int64_t i = 0; i < size; ++i) {
          T& score = decayed[indices[i]];
          score = scores[indices[i]] * decay[i];
          survives[i] = score >= static_cast<T>(params.score_threshold);
        }
      },
      keep);
  std::sort(keep, keep + count,
            [&](int64_t a, int64_t b) { return decayed[a] != decayed[b] ? decayed[a] > decayed[b] : a < b; });
  const int64_t kept = std::min(count, params.groups.max_output);
  for (int64_t i = 0; i < kept; ++i) kept_scores[i] = decayed[keep[i]];
  return kept;
}

// boxes: those of one class by indices, computed in T.
template <class T, class From>
void box_decays(const From* boxes, const uint32_t* indices, int64_t size, const MatrixNmsParams& params,
                From* decay) {
  Scratch<T> memory(BoxColumns<T>::kFields * size), factors(size);
  const BoxColumns<T> columns(memory, size);
  for (int64_t i = 0; i < size; ++i) {
    T box[4];
    std::copy_n(boxes + 4 * int64_t{indices[i]}, 4, box);
    set_box(columns, i, box);
  }
  const auto row = box_iou_kernels_of<T>().row;
  decays_of(
      size, params.method, static_cast<T>(params.sigma),
      [&](int64_t i, T* iou) {
        row(IouKind::kIou, columns.at(i), columns.at(i + 1), iou, size - i - 1, T{0});
      },
      factors.get());
  std::copy_n(factors.get(), size, decay);
}

}  // namespace

template <class T>
int64_t matrix_nms(const T* boxes, const T* scores, int64_t n, const MatrixNmsParams& params, int64_t* keep,
                   T* kept_scores) {
  const auto valid = [&](int64_t i) { return finite_box(boxes + 4 * i); };
  const auto rows = [&](const uint32_t* indices, int64_t size, T* decay) {
    if constexpr (std::is_same_v<T, float>) {
      const auto fits = [&](uint32_t i) { return area_fits_f32(boxes + 4 * int64_t{i}); };
      if (!std::all_of(indices, indices + size, fits))
        return box_decays<double>(boxes, indices, size, params, decay);
    }
    box_decays<T>(boxes, indices, size, params, decay);
  };
  return run(scores, n, params, valid, rows, keep, kept_scores);
}

template <class T>
int64_t mask_matrix_nms(const uint8_t* masks, int64_t pixels, const T* scores, int64_t n,
                        const MatrixNmsParams& params, int64_t* keep, T* kept_scores) {
  const PackedMasks packed(masks, n, pixels);
  const auto rows = [&](const uint32_t* indices, int64_t size, T* decay) {
    const auto row = [&](int64_t i, T* iou) {
      for (int64_t j = i + 1; j < size; ++j)
        iou[j - i - 1] = static_cast<T>(packed.iou(indices[i], indices[j]));
    };
    decays_of(size, params.method, static_cast<T>(params.sigma), row, decay);
  };
  return run(scores, n, params, [](int64_t) { return true; }, rows, keep, kept_scores);
}

template int64_t matrix_nms<float>(const float*, const float*, int64_t, const MatrixNmsParams&, int64_t*,
                                   float*);
template int64_t matrix_nms<double>(const double*, const double*, int64_t, const MatrixNmsParams&, int64_t*,
                                    double*);
template int64_t mask_matrix_nms<float>(const uint8_t*, int64_t, const float*, int64_t,
                                        const MatrixNmsParams&, int64_t*, float*);
template int64_t mask_matrix_nms<double>(const uint8_t*, int64_t, const double*, int64_t,
                                         const MatrixNmsParams&, int64_t*, double*);

}  // namespace pyvision

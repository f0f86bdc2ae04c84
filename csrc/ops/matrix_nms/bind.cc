// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>
#include <type_traits>

#include "ops/box_iou/box_iou.h"
#include "ops/boxes/geometry.h"
#include "ops/mask_nms/packed_masks.h"
#include "ops/matrix_nms/matrix_nms.h"
#include "ops/nms/arguments.h"

namespace pyvision {
namespace {

struct Params {
  const char* op;
  MatrixNmsMethod method;
  double sigma, score_threshold;
  OptionalArray idxs;
  std::optional<int64_t> max_output;
};

Params parse(const char* op, const std::string& method, double sigma, double score_threshold,
             const OptionalArray& idxs, std::optional<int64_t> max_output) {
  check(method == "linear" || method == "gaussian", op, "expected method to be linear or gaussian, got '",
        method, "'");
  check(sigma > 0 && std::isfinite(sigma), op, "expected sigma to be finite and positive, got ", sigma);
  check(std::isfinite(score_threshold), op, "expected score_threshold to be finite, got ", score_threshold);
  return {op,    method == "linear" ? MatrixNmsMethod::kLinear : MatrixNmsMethod::kGaussian,
          sigma, score_threshold,
          idxs,  max_output};
}

// rows(indices, size, decay) fills the factors of one class by falling score.
template <class T, class Valid, class Rows>
py::tuple run(const Params& params, const py::array& scores, int64_t n, Valid valid, Rows rows) {
  const T* s = nms_scores<T>(params.op, scores, n);
  NmsGroups groups = nms_groups(params.op, n, params.idxs, std::nullopt, params.max_output);
  const int64_t most = std::exchange(groups.max_output, INT64_MAX);  // counted after the scores have fallen
  Scratch<T> decayed_memory(n);
  T* const decayed = decayed_memory;
  const auto keep = kept_indices(params.op, n, [&](int64_t* indices_out) {
    const int64_t count = suppress(
        s, n, groups, valid,
        [&](const uint32_t* indices, int64_t size, int64_t, uint8_t* survives) {
          Scratch<T> decay(size);
          rows(indices, size, decay.get());
          for (int64_t i = 0; i < size; ++i) {
            decayed[indices[i]] = s[indices[i]] * decay[i];
            survives[i] = decayed[indices[i]] >= static_cast<T>(params.score_threshold);
          }
        },
        indices_out);
    std::sort(indices_out, indices_out + count, [&](int64_t a, int64_t b) {
      return decayed[a] != decayed[b] ? decayed[a] > decayed[b] : a < b;
    });
    return std::min(count, most);
  });
  auto scores_out = empty<T>(params.op, {keep.size()});
  for (py::ssize_t i = 0; i < keep.size(); ++i) scores_out.mutable_data()[i] = decayed[keep.data()[i]];
  return py::make_tuple(keep, scores_out);
}

template <class T>
py::tuple run_boxes(const Params& params, const py::array& boxes, const py::array& scores) {
  const Tensor t = dense_view<const T>(boxes, params.op, "boxes", 2);
  check(t.shape[1] == 4, params.op, "expected boxes of shape (N, 4), got ", shape_text(t));
  const T* b = t.as<const T>();
  return run<T>(
      params, scores, t.shape[0], [&](int64_t i) { return finite_box(b + 4 * i); },
      [&](const uint32_t* indices, int64_t size, T* decay) {
        // Doubles where a float32 area would overflow or vanish.
        const auto in = [&](auto zero) {
          using V = decltype(zero);
          Scratch<V> memory(BoxColumns<V>::kFields * size), factors(size);
          const BoxColumns<V> columns(memory, size);
          for (int64_t i = 0; i < size; ++i) {
            V box[4];
            std::copy_n(b + 4 * int64_t{indices[i]}, 4, box);
            set_box(columns, i, box);
          }
          const auto row = box_iou_kernels_of<V>().row;
          matrix_nms_decay(
              size, params.method, static_cast<V>(params.sigma),
              [&](int64_t i, V* iou) {
                row(IouKind::kIou, columns.at(i), columns.at(i + 1), iou, size - i - 1, V{0});
              },
              factors.get());
          std::copy_n(factors.get(), size, decay);
        };
        bool fits = true;
        if constexpr (std::is_same_v<T, float>)
          for (int64_t i = 0; i < size && fits; ++i) fits = area_fits_f32(b + 4 * int64_t{indices[i]});
        fits ? in(T{}) : in(double{});
      });
}

template <class T>
py::tuple run_masks(const Params& params, const py::array& masks, const py::array& scores) {
  const Tensor t = dense_view<const uint8_t>(masks, params.op, "masks", 3);
  const int64_t n = t.shape[0];
  nms_scores<T>(params.op, scores, n);  // before the masks are packed
  const PackedMasks packed(t.as<const uint8_t>(), n, t.shape[1] * t.shape[2]);
  return run<T>(
      params, scores, n, [](int64_t) { return true; },
      [&](const uint32_t* indices, int64_t size, T* decay) {
        matrix_nms_decay(
            size, params.method, static_cast<T>(params.sigma),
            [&](int64_t i, T* iou) {
              for (int64_t j = i + 1; j < size; ++j)
                iou[j - i - 1] = static_cast<T>(packed.iou(indices[i], indices[j]));
            },
            decay);
      });
}

}  // namespace

void bind_matrix_nms(py::module_& m) {
  m.def(
      "matrix_nms",
      [](const py::array& boxes, const py::array& scores, const OptionalArray& idxs,
         const std::string& method, double sigma, double score_threshold, std::optional<int64_t> max_output) {
        const Params params = parse("matrix_nms", method, sigma, score_threshold, idxs, max_output);
        return py::isinstance<py::array_t<double>>(boxes) ? run_boxes<double>(params, boxes, scores)
                                                          : run_boxes<float>(params, boxes, scores);
      },
      py::arg("boxes"), py::arg("scores"), py::arg("idxs"), py::arg("method"), py::arg("sigma"),
      py::arg("score_threshold"), py::arg("max_output") = py::none());
  m.def(
      "mask_matrix_nms",
      [](const py::array& masks, const py::array& scores, const OptionalArray& idxs,
         const std::string& method, double sigma, double score_threshold, std::optional<int64_t> max_output) {
        const Params params = parse("mask_matrix_nms", method, sigma, score_threshold, idxs, max_output);
        return py::isinstance<py::array_t<double>>(scores) ? run_masks<double>(params, masks, scores)
                                                           : run_masks<float>(params, masks, scores);
      },
      py::arg("masks"), py::arg("scores"), py::arg("idxs"), py::arg("method"), py::arg("sigma"),
      py::arg("score_threshold"), py::arg("max_output") = py::none());
}

}  // namespace pyvision

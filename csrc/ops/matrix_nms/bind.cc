// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>

#include "ops/matrix_nms/matrix_nms.h"
#include "ops/nms/arguments.h"

namespace pyvision::matrix_nms_bind {

// The options, which are the same for boxes and masks.
struct Options {
  const OptionalArray& idxs;
  const std::string& method;
  double sigma, score_threshold;
  std::optional<int64_t> max_output;
};

MatrixNmsParams parse(const char* op, int64_t n, const Options& o) {
  check(o.method == "linear" || o.method == "gaussian", op, "expected method to be linear or gaussian, got '",
        o.method, "'");
  check(o.sigma > 0 && std::isfinite(o.sigma), op, "expected sigma to be finite and positive, got ", o.sigma);
  check(std::isfinite(o.score_threshold), op, "expected score_threshold to be finite, got ",
        o.score_threshold);
  return {o.method == "linear" ? MatrixNmsMethod::kLinear : MatrixNmsMethod::kGaussian, o.sigma,
          o.score_threshold, nms_groups(op, n, o.idxs, std::nullopt, o.max_output)};
}

template <class T>
py::tuple run_boxes(const py::array& boxes, const py::array& scores, const Options& options) {
  constexpr const char* op = "matrix_nms";
  const Tensor t = dense_view<const T>(boxes, op, "boxes", 2);
  const int64_t n = t.shape[0];
  check(t.shape[1] == 4, op, "expected boxes of shape (N, 4), got ", shape_text(t));
  const T* s = nms_scores<T>(op, scores, n);
  const MatrixNmsParams params = parse(op, n, options);
  return kept_and_scores<T>(op, n, [&](int64_t* keep, T* kept_scores) {
    return matrix_nms(t.as<const T>(), s, n, params, keep, kept_scores);
  });
}

template <class T>
py::tuple run_masks(const py::array& masks, const py::array& scores, const Options& options) {
  constexpr const char* op = "mask_matrix_nms";
  const Tensor t = dense_view<const uint8_t>(masks, op, "masks", 3);
  const int64_t n = t.shape[0], pixels = t.shape[1] * t.shape[2];
  const T* s = nms_scores<T>(op, scores, n);
  const MatrixNmsParams params = parse(op, n, options);
  return kept_and_scores<T>(op, n, [&](int64_t* keep, T* kept_scores) {
    return mask_matrix_nms(t.as<const uint8_t>(), pixels, s, n, params, keep, kept_scores);
  });
}

void define(py::module_& m) {
  m.def(
      "matrix_nms",
      [](const py::array& boxes, const py::array& scores, const OptionalArray& idxs,
         const std::string& method, double sigma, double score_threshold, std::optional<int64_t> max_output) {
        const Options options = {idxs, method, sigma, score_threshold, max_output};
        return is_f64(boxes) ? run_boxes<double>(boxes, scores, options)
                             : run_boxes<float>(boxes, scores, options);
      },
      py::arg("boxes"), py::arg("scores"), py::arg("idxs"), py::arg("method"), py::arg("sigma"),
      py::arg("score_threshold"), py::arg("max_output") = py::none());
  m.def(
      "mask_matrix_nms",
      [](const py::array& masks, const py::array& scores, const OptionalArray& idxs,
         const std::string& method, double sigma, double score_threshold, std::optional<int64_t> max_output) {
        const Options options = {idxs, method, sigma, score_threshold, max_output};
        return is_f64(scores) ? run_masks<double>(masks, scores, options)
                              : run_masks<float>(masks, scores, options);
      },
      py::arg("masks"), py::arg("scores"), py::arg("idxs"), py::arg("method"), py::arg("sigma"),
      py::arg("score_threshold"), py::arg("max_output") = py::none());
}

}  // namespace pyvision::matrix_nms_bind

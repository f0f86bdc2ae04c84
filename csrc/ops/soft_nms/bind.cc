// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>

#include "ops/nms/arguments.h"
#include "ops/soft_nms/soft_nms.h"

namespace pyvision::soft_nms_bind {

constexpr const char* kOp = "soft_nms";

SoftNmsMethod parse_method(const std::string& name) {
  constexpr const char* kNames[] = {"linear", "gaussian", "hard"};  // in the order of enum SoftNmsMethod
  for (int i = 0; i < 3; ++i)
    if (name == kNames[i]) return static_cast<SoftNmsMethod>(i);
  check(false, kOp, "expected method to be linear, gaussian or hard, got '", name, "'");
  return SoftNmsMethod::kGaussian;
}

template <class T>
py::tuple run(const py::array& boxes, const py::array& scores, const SoftNmsParams& params) {
  const Tensor b = dense_view<const T>(boxes, kOp, "boxes", 2);
  const int64_t n = b.shape[0];
  check(b.shape[1] == 4, kOp, "expected boxes of shape (N, 4), got ", shape_text(b));
  const T* s = nms_scores<T>(kOp, scores, n);
  return kept_and_scores<T>(kOp, n, [&](int64_t* keep, T* kept_scores) {
    return soft_nms(b.as<const T>(), s, n, params, keep, kept_scores);
  });
}

void define(py::module_& m) {
  m.def(
      "soft_nms",
      [](const py::array& boxes, const py::array& scores, double iou_threshold, double sigma,
         double score_threshold, const std::string& method, std::optional<int64_t> max_output) {
        check_iou_threshold(kOp, iou_threshold);
        check(sigma > 0 && std::isfinite(sigma), kOp, "expected sigma to be finite and positive, got ",
              sigma);
        check(std::isfinite(score_threshold), kOp, "expected score_threshold to be finite, got ",
              score_threshold);
        const SoftNmsParams params = {parse_method(method), iou_threshold, sigma, score_threshold,
                                      nms_groups(kOp, 0, {}, {}, max_output).max_output};
        return is_f64(boxes) ? run<double>(boxes, scores, params) : run<float>(boxes, scores, params);
      },
      py::arg("boxes"), py::arg("scores"), py::arg("iou_threshold"), py::arg("sigma"),
      py::arg("score_threshold"), py::arg("method"), py::arg("max_output") = py::none());
}

}  // namespace pyvision::soft_nms_bind

// SPDX-License-Identifier: Apache-2.0
#include "soft_nms.cuh"

#include <cmath>

#include "common/bind.h"

namespace pyvision::cuda::soft_nms_bind {

// Of items: boxes (n, 4) or masks (n, h, w). The latter have no dtype in common with the scores.
struct Call {
  SoftNmsProblem problem;
  Masks masks;

  Call(const Stream& stream, const std::string& op_name, const DeviceArray& items, const DeviceArray& scores,
       const OptionalArray& idxs) {
    const char* const op = op_name.c_str();
    NmsProblem& p = problem.p;
    p.dtype = scores.tensor.dtype;
    check_type(p.dtype == DType::kF32 || p.dtype == DType::kF64, op,
               "expected scores of dtype float32 or float64, got ", dtype_name(p.dtype));
    p.n = items.tensor.shape[0];
    if (items.tensor.rank == 3) {
      const DType dtype = items.tensor.dtype;
      check_type(dtype == DType::kU8 || dtype == DType::kBool, op,
                 "expected masks of dtype bool or uint8, got ", dtype_name(dtype));
      masks.data = static_cast<const uint8_t*>(checked_data(items, op, "masks", stream, dtype, {-1, -1, -1}));
      masks.pixels = items.tensor.shape[1] * items.tensor.shape[2];
      check(masks.pixels <= INT32_MAX, op, "expected masks of at most 2147483647 pixels, got ", masks.pixels);
      masks.given = true;
    } else {
      p.boxes = checked_data(items, op, "boxes", stream, p.dtype, {-1, 4});
    }
    check(p.n <= INT32_MAX, op, "expected at most 2147483647 boxes, got ", p.n);
    p.scores = checked_data(scores, op, "scores", stream, p.dtype, {p.n});
    p.classes = data_or_null<const int64_t>(idxs, op, "idxs", stream, DType::kI64, {p.n});
  }

  void set(const std::string& op_name, const std::string& method, double sigma, double score_threshold,
           std::optional<int64_t> max_output, bool hard) {
    const char* const op = op_name.c_str();
    check(method == "linear" || method == "gaussian" || (hard && method == "hard"), op,
          "expected method to be 'linear'", hard ? ", 'gaussian' or 'hard'" : " or 'gaussian'", ", got '",
          method, "'");
    problem.method = method == "linear"     ? SoftNms::kLinear
                     : method == "gaussian" ? SoftNms::kGaussian
                                            : SoftNms::kHard;
    check(std::isfinite(sigma) && sigma > 0, op, "expected sigma to be positive and finite, got ", sigma);
    check(!std::isnan(score_threshold), op, "expected score_threshold to be a number, got ", score_threshold);
    problem.sigma = sigma, problem.score_threshold = score_threshold;
    limit(op_name, max_output);
  }
  void limit(const std::string& op, std::optional<int64_t> max_output) {
    check(!max_output || *max_output > 0, op.c_str(), "expected max_output to be positive, got ",
          max_output.value_or(0));
    if (max_output) problem.p.max_output = *max_output;
  }
  void set_threshold(const std::string& op, double iou_threshold) {
    check(iou_threshold >= 0 && iou_threshold <= 1, op.c_str(), "expected iou_threshold in [0, 1], got ",
          iou_threshold);
    problem.p.threshold = iou_threshold;
  }
};

struct Result {
  int64_t* keep;
  void* scores;
  int64_t* count;

  Result(const std::string& op, const Stream& stream, const Call& call, const DeviceArray& keep,
         const OptionalArray& scores, const DeviceArray& count) {
    const NmsProblem& p = call.problem.p;
    this->keep = static_cast<int64_t*>(checked_data(keep, op.c_str(), "keep", stream, DType::kI64, {p.n}));
    this->scores = data_or_null<void>(scores, op.c_str(), "kept_scores", stream, p.dtype, {p.n});
    this->count = static_cast<int64_t*>(checked_data(count, op.c_str(), "count", stream, DType::kI64, {1}));
  }
};

void define(py::module_& m) {
  m.def(
      "soft_nms_workspace",
      [](const Stream& stream, const DeviceArray& boxes, const DeviceArray& scores) {
        return soft_nms_workspace_bytes(Call(stream, "soft_nms", boxes, scores, {}).problem);
      },
      py::arg("stream"), py::arg("boxes"), py::arg("scores"));
  m.def(
      "soft_nms",
      [](const Stream& stream, const DeviceArray& boxes, const DeviceArray& scores, double iou_threshold,
         double sigma, double score_threshold, const std::string& method, std::optional<int64_t> max_output,
         const DeviceArray& workspace, const DeviceArray& keep, const DeviceArray& kept_scores,
         const DeviceArray& count) {
        const std::string op = "soft_nms";
        Call call(stream, op, boxes, scores, {});
        call.set(op, method, sigma, score_threshold, max_output, true);
        call.set_threshold(op, iou_threshold);
        const Result result(op, stream, call, keep, kept_scores, count);
        void* const memory =
            workspace_data(workspace, op.c_str(), stream, soft_nms_workspace_bytes(call.problem));
        soft_nms(op.c_str(), stream, call.problem, memory, result.keep, result.scores, result.count);
      },
      py::arg("stream"), py::arg("boxes"), py::arg("scores"), py::arg("iou_threshold"), py::arg("sigma"),
      py::arg("score_threshold"), py::arg("method"), py::arg("max_output"), py::arg("workspace"),
      py::arg("keep"), py::arg("kept_scores"), py::arg("count"));
  m.def(
      "matrix_nms_workspace",
      [](const Stream& stream, const std::string& op, const DeviceArray& items, const DeviceArray& scores,
         const OptionalArray& idxs) {
        const Call call(stream, op, items, scores, idxs);
        return matrix_nms_workspace_bytes(stream, call.problem, call.masks);
      },
      py::arg("stream"), py::arg("op"), py::arg("items"), py::arg("scores"), py::arg("idxs"));
  m.def(
      "matrix_nms",
      [](const Stream& stream, const std::string& op, const DeviceArray& items, const DeviceArray& scores,
         const OptionalArray& idxs, const std::string& method, double sigma, double score_threshold,
         std::optional<int64_t> max_output, const DeviceArray& workspace, const DeviceArray& keep,
         const DeviceArray& kept_scores, const DeviceArray& count) {
        Call call(stream, op, items, scores, idxs);
        call.set(op, method, sigma, score_threshold, max_output, false);
        const Result result(op, stream, call, keep, kept_scores, count);
        void* const memory = workspace_data(workspace, op.c_str(), stream,
                                            matrix_nms_workspace_bytes(stream, call.problem, call.masks));
        matrix_nms(op.c_str(), stream, call.problem, call.masks, memory, result.keep, result.scores,
                   result.count);
      },
      py::arg("stream"), py::arg("op"), py::arg("items"), py::arg("scores"), py::arg("idxs"),
      py::arg("method"), py::arg("sigma"), py::arg("score_threshold"), py::arg("max_output"),
      py::arg("workspace"), py::arg("keep"), py::arg("kept_scores"), py::arg("count"));
  m.def(
      "mask_nms_workspace",
      [](const Stream& stream, const DeviceArray& masks, const DeviceArray& scores,
         const OptionalArray& idxs) {
        const Call call(stream, "mask_nms", masks, scores, idxs);
        return mask_nms_workspace_bytes(stream, call.problem.p, call.masks);
      },
      py::arg("stream"), py::arg("masks"), py::arg("scores"), py::arg("idxs"));
  m.def(
      "mask_nms",
      [](const Stream& stream, const DeviceArray& masks, const DeviceArray& scores, const OptionalArray& idxs,
         double iou_threshold, std::optional<int64_t> max_output, const DeviceArray& workspace,
         const DeviceArray& keep, const DeviceArray& count) {
        const std::string op = "mask_nms";
        Call call(stream, op, masks, scores, idxs);
        call.limit(op, max_output);
        call.set_threshold(op, iou_threshold);
        const Result result(op, stream, call, keep, {}, count);
        void* const memory = workspace_data(workspace, op.c_str(), stream,
                                            mask_nms_workspace_bytes(stream, call.problem.p, call.masks));
        mask_nms(op.c_str(), stream, call.problem.p, call.masks, memory, result.keep, result.count);
      },
      py::arg("stream"), py::arg("masks"), py::arg("scores"), py::arg("idxs"), py::arg("iou_threshold"),
      py::arg("max_output"), py::arg("workspace"), py::arg("keep"), py::arg("count"));
}

}  // namespace pyvision::cuda::soft_nms_bind

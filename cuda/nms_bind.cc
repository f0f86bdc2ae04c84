// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "nms.cuh"

namespace pyvision::cuda::nms_bind {

constexpr char kOp[] = "nms";

NmsProblem problem_of(const Stream& stream, const DeviceArray& boxes, const DeviceArray& scores,
                      const OptionalArray& idxs, const OptionalArray& image_idxs) {
  NmsProblem p;
  p.dtype = boxes.tensor.dtype;
  check_type(p.dtype == DType::kF32 || p.dtype == DType::kF64, kOp,
             "expected boxes of dtype float32 or float64, got ", dtype_name(p.dtype));
  p.rotated = boxes.tensor.rank == 2 && boxes.tensor.shape[1] == 5;
  p.boxes = checked_data(boxes, kOp, "boxes", stream, p.dtype, {-1, p.rotated ? 5 : 4});
  p.n = boxes.tensor.shape[0];
  check(p.n <= INT32_MAX, kOp, "expected at most 2147483647 boxes, got ", p.n);
  p.scores = checked_data(scores, kOp, "scores", stream, p.dtype, {p.n});
  p.classes = data_or_null<const int64_t>(idxs, kOp, "idxs", stream, DType::kI64, {p.n});
  p.images = data_or_null<const int64_t>(image_idxs, kOp, "image_idxs", stream, DType::kI64, {p.n});
  return p;
}

void define(py::module_& m) {
  m.def(
      "nms_workspace",
      [](const Stream& stream, const DeviceArray& boxes, const DeviceArray& scores, const OptionalArray& idxs,
         const OptionalArray& image_idxs) {
        return nms_workspace_bytes(stream, problem_of(stream, boxes, scores, idxs, image_idxs));
      },
      py::arg("stream"), py::arg("boxes"), py::arg("scores"), py::arg("idxs"), py::arg("image_idxs"));
  m.def(
      "nms",
      [](const Stream& stream, const DeviceArray& boxes, const DeviceArray& scores, const OptionalArray& idxs,
         const OptionalArray& image_idxs, double iou_threshold, std::optional<int64_t> max_output,
         const DeviceArray& workspace, const DeviceArray& keep, const DeviceArray& count) {
        NmsProblem p = problem_of(stream, boxes, scores, idxs, image_idxs);
        check(iou_threshold >= 0 && iou_threshold <= 1, kOp, "expected iou_threshold in [0, 1], got ",
              iou_threshold);
        check(!max_output || *max_output > 0, kOp, "expected max_output to be positive, got ",
              max_output.value_or(0));
        p.threshold = iou_threshold;
        p.max_output = max_output.value_or(INT64_MAX);
        void* const memory = workspace_data(workspace, kOp, stream, nms_workspace_bytes(stream, p));
        auto* const indices =
            static_cast<int64_t*>(checked_data(keep, kOp, "keep", stream, DType::kI64, {-1}));
        auto* const total =
            static_cast<int64_t*>(checked_data(count, kOp, "count", stream, DType::kI64, {1}));
        nms(kOp, stream, p, memory, indices, keep.tensor.shape[0], total);
      },
      py::arg("stream"), py::arg("boxes"), py::arg("scores"), py::arg("idxs"), py::arg("image_idxs"),
      py::arg("iou_threshold"), py::arg("max_output"), py::arg("workspace"), py::arg("keep"),
      py::arg("count"));
}

}  // namespace pyvision::cuda::nms_bind

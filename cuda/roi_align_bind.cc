// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "common/bind.h"
#include "roi_align.cuh"

namespace pyvision::cuda::roi_align_bind {

constexpr char kOp[] = "roi_align";

void run(const Stream& stream, const DeviceArray& input, const DeviceArray& boxes,
         std::array<int64_t, 2> output_size, double spatial_scale, int64_t sampling_ratio, bool aligned,
         const DeviceArray& output) {
  RoiAlignProblem p;
  p.dtype = checked_float_type(input, kOp, "input");
  p.input = checked_data(input, kOp, "input", stream, p.dtype, {-1, -1, -1, -1});
  const auto& x = input.tensor.shape;
  p.n = x[0];
  p.h = x[1];
  p.w = x[2];
  p.channels = x[3];
  constexpr int64_t kLargest = int64_t{1} << 29;  // coordinates are counted in 32 bits
  check(p.h > 0 && p.w > 0 && p.h < kLargest && p.w < kLargest && p.channels < kLargest, kOp,
        "expected maps of at least one pixel, with extents below 2^29, got ", shape_text(input.tensor));
  p.boxes = static_cast<const float*>(checked_data(boxes, kOp, "boxes", stream, DType::kF32, {-1, 5}));
  p.count = boxes.tensor.shape[0];
  p.bins_h = output_size[0];
  p.bins_w = output_size[1];
  check(p.bins_h > 0 && p.bins_w > 0 && p.bins_h < kLargest && p.bins_w < kLargest, kOp,
        "expected output_size to be positive, and below 2^29, got ", shape_text(output_size.data(), 2));
  p.spatial_scale = static_cast<float>(spatial_scale);
  check(std::isfinite(p.spatial_scale) && p.spatial_scale > 0, kOp,
        "expected spatial_scale to be positive and finite, got ", spatial_scale);
  check(sampling_ratio <= 1024, kOp, "expected sampling_ratio of at most 1024, got ", sampling_ratio);
  p.sampling_ratio = sampling_ratio;
  p.aligned = aligned;
  p.output = checked_data(output, kOp, "output", stream, p.dtype, {p.count, p.bins_h, p.bins_w, p.channels});
  roi_align(kOp, stream, p);
}

void define(py::module_& m) {
  m.def("roi_align", &run, py::arg("stream"), py::arg("input"), py::arg("boxes"), py::arg("output_size"),
        py::arg("spatial_scale"), py::arg("sampling_ratio"), py::arg("aligned"), py::arg("output"));
}

}  // namespace pyvision::cuda::roi_align_bind

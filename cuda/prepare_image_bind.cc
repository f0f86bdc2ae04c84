// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "prepare_image.cuh"

namespace pyvision::cuda::prepare_image_bind {

void run(const Stream& stream, const DeviceArray& image, const std::array<int64_t, 4>& region,
         const std::array<float, 3>& mean, const std::array<float, 3>& stdev, bool bgr, float pad,
         const DeviceArray& output) {
  constexpr char kOp[] = "prepare_image";
  const Tensor &x = image.tensor, &y = output.tensor;
  const ImageView pixels = image_view(kOp, x);
  checked_data(image, kOp, "image", stream, DType::kU8, std::vector<int64_t>(x.shape, x.shape + x.rank));
  constexpr int64_t kMost = int64_t{1} << 31;  // numbers of rows and columns are 32 bits in the kernel
  check(pixels.h < kMost && pixels.w < kMost, kOp, "expected image of fewer than 2^31 rows and columns, got ",
        shape_text(x));
  const DType dtype = checked_float_type(output, kOp, "output");
  void* const data = checked_data(output, kOp, "output", stream, dtype, {1, -1, -1, 3});
  const PrepareImageParams params =
      prepare_image_params(kOp, {y.shape[1], y.shape[2]}, region, mean, stdev, bgr, pad);
  check(y.shape[1] < kMost && y.shape[2] < kMost, kOp, "expected size of fewer than 2^31 rows and columns, ",
        "got ", y.shape[1], " x ", y.shape[2]);
  prepare_image(kOp, stream, pixels, params, dtype, data);
}

void define(py::module_& m) {
  m.def("prepare_image", &run, py::arg("stream"), py::arg("image"), py::arg("region"), py::arg("mean"),
        py::arg("std"), py::arg("bgr"), py::arg("pad_value"), py::arg("output"),
        "The image may have any strides");
}

}  // namespace pyvision::cuda::prepare_image_bind

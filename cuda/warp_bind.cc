// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "common/bind.h"
#include "core/sampled_maps.h"
#include "warp.cuh"

namespace pyvision::cuda::warp_bind {

BorderValues border_values(const char* op, std::vector<double> values, DType dtype, int64_t channels) {
  check(static_cast<int64_t>(values.size()) == channels, op, "expected border_value for ", channels,
        " channels, got ", values.size());
  for (double& value : values) {
    check(std::isfinite(value), op, "expected finite border_value, got ", value);
    if (dtype == DType::kU8) value = std::clamp(std::nearbyint(value), 0.0, 255.0);
  }
  const bool same = std::all_of(values.begin(), values.end(), [&](double v) { return v == values[0]; });
  check(same || channels <= kBorderValues, op, "expected one border_value for more than ", kBorderValues,
        " channels, got ", channels);
  BorderValues border = {};
  border.count = same ? 1 : static_cast<int>(channels);
  for (int c = 0; c < border.count; ++c) border.value[c] = static_cast<float>(values[static_cast<size_t>(c)]);
  return border;
}

WarpProblem problem_of(const char* op, const Stream& stream, const DeviceArray& src, const std::string& mode,
                       const std::string& border_mode, const std::vector<double>& border,
                       const DeviceArray& output) {
  const Tensor &x = src.tensor, &y = output.tensor;
  WarpProblem p;
  p.params = {parse_warp_mode(op, mode), parse_border_mode(op, border_mode)};
  p.dtype = x.dtype;
  check_type(p.dtype == DType::kU8 || p.dtype == DType::kF32, op,
             "expected src of dtype uint8 or float32, got ", dtype_name(p.dtype));
  p.input = checked_data(src, op, "src", stream, p.dtype, {-1, -1, -1, -1});
  p.output = checked_data(output, op, "output", stream, p.dtype, {x.shape[0], -1, -1, x.shape[3]});
  check(x.shape[1] > 0 && x.shape[2] > 0 && x.shape[3] > 0, op,
        "expected src with no empty axis but N, got (N, H, W, C) = ", shape_text(x));
  check(x.shape[1] <= kMaxSampledExtent && x.shape[2] <= kMaxSampledExtent, op, "expected src of at most ",
        kMaxSampledExtent, " rows and columns, got ", shape_text(x));
  constexpr int64_t kMost = 1 << 22;  // a block's values are counted in 32 bits
  check(x.shape[3] <= kMost, op, "expected src of at most ", kMost, " channels, got ", x.shape[3]);
  check(y.shape[1] > 0 && y.shape[2] > 0 && y.shape[1] <= INT32_MAX && y.shape[2] <= INT32_MAX, op,
        "expected dsize of at least 1 x 1 and fewer than 2^31 pixels each way, got (", y.shape[2], ", ",
        y.shape[1], ")");
  p.n = x.shape[0];
  p.h = static_cast<int>(x.shape[1]);
  p.w = static_cast<int>(x.shape[2]);
  p.channels = x.shape[3];
  p.out_h = static_cast<int>(y.shape[1]);
  p.out_w = static_cast<int>(y.shape[2]);
  p.border = border_values(op, border, p.dtype, p.channels);
  return p;
}

void define(py::module_& m) {
  m.def(
      "warp_projective",
      [](const Stream& stream, const std::string& op, const DeviceArray& src,
         const std::array<double, 9>& transform, const std::string& mode, const std::string& border_mode,
         const std::vector<double>& border_value, const DeviceArray& output) {
        const WarpProblem p = problem_of(op.c_str(), stream, src, mode, border_mode, border_value, output);
        warp_projective(op.c_str(), stream, p, transform.data());
      },
      py::arg("stream"), py::arg("op"), py::arg("src"), py::arg("transform"), py::arg("mode"),
      py::arg("border_mode"), py::arg("border_value"), py::arg("output"));
  m.attr("TRANSFORM_BYTES") = kTransformBytes;
  m.def(
      "warp_projective_by",
      [](const Stream& stream, const std::string& op_name, const DeviceArray& src, const DeviceArray& matrix,
         bool inverted, const std::string& mode, const std::string& border_mode,
         const std::vector<double>& border_value, const DeviceArray& workspace, const DeviceArray& output) {
        const char* const op = op_name.c_str();
        const WarpProblem p = problem_of(op, stream, src, mode, border_mode, border_value, output);
        DeviceTransform transform;
        transform.dtype = matrix.tensor.dtype;
        check_type(transform.dtype == DType::kF32 || transform.dtype == DType::kF64, op,
                   "expected M of dtype float32 or float64, got ", dtype_name(transform.dtype));
        transform.rows = op_name == "warp_affine" ? 2 : 3;
        transform.matrix = checked_data(matrix, op, "M", stream, transform.dtype, {transform.rows, 3});
        transform.inverted = inverted;
        warp_projective_by(op, stream, p, transform, workspace_data(workspace, op, stream, kTransformBytes));
      },
      py::arg("stream"), py::arg("op"), py::arg("src"), py::arg("matrix"), py::arg("inverted"),
      py::arg("mode"), py::arg("border_mode"), py::arg("border_value"), py::arg("workspace"),
      py::arg("output"));
  m.def(
      "remap",
      [](const Stream& stream, const DeviceArray& src, const DeviceArray& map1, const OptionalArray& map2,
         const std::string& mode, const std::string& border_mode, const std::vector<double>& border_value,
         const DeviceArray& output) {
        constexpr char kOp[] = "remap";
        const WarpProblem p = problem_of(kOp, stream, src, mode, border_mode, border_value, output);
        std::vector<int64_t> shape = {p.out_h, p.out_w};
        const auto* const second = data_or_null<const float>(map2, kOp, "map2", stream, DType::kF32, shape);
        if (!map2) shape.push_back(2);
        const auto* const first =
            static_cast<const float*>(checked_data(map1, kOp, "map1", stream, DType::kF32, shape));
        warp_map(kOp, stream, p, first, map2 ? second : first + 1, map2 ? 1 : 2);
      },
      py::arg("stream"), py::arg("src"), py::arg("map1"), py::arg("map2"), py::arg("mode"),
      py::arg("border_mode"), py::arg("border_value"), py::arg("output"));
}

}  // namespace pyvision::cuda::warp_bind

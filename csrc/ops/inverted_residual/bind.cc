// SPDX-License-Identifier: Apache-2.0
#include "ops/separable_conv2d/bind.h"
#include "ops/conv2d/bias.h"
#include "ops/conv2d/planes.h"
#include "ops/inverted_residual/inverted_residual.h"

namespace pyvision::inverted_residual_bind {

constexpr const char* kOp = "inverted_residual";
using Bias = std::optional<py::array>;

InvertedResidual make_inverted_residual(const py::array& expand_weight, const py::array& depthwise_weight,
                                        const py::array& project_weight, const Bias& expand_bias,
                                        const Bias& depthwise_bias, const Bias& project_bias,
                                        std::array<int64_t, 2> stride, std::array<int64_t, 4> padding,
                                        std::array<int64_t, 2> dilation, const std::string& expand_activation,
                                        float expand_slope, const std::string& depthwise_activation,
                                        float depthwise_slope, const std::string& activation, float slope) {
  const Tensor e = dense_view<const float>(expand_weight, kOp, "expand_weight", 4);
  check(e.shape[0] > 0 && e.shape[1] > 0 && e.shape[2] == 1 && e.shape[3] == 1, kOp,
        "expected expand_weight of shape (channels, in_channels, 1, 1), got ", shape_text(e));
  Conv2dParams p;
  p.in_channels = e.shape[1], p.out_channels = e.shape[0];
  p.activation = {parse_activation(kOp, expand_activation), expand_slope};
  const float* const bias = bias_view<float>(expand_bias, p.out_channels, kOp, "expand_bias");
  SeparableConv2d separable =
      parse_separable_conv2d(kOp, depthwise_weight, project_weight, "project_weight", depthwise_bias,
                             project_bias, "project_bias", stride, padding, dilation, p.out_channels,
                             {parse_activation(kOp, depthwise_activation), depthwise_slope},
                             {parse_activation(kOp, activation), slope});
  py::gil_scoped_release release;
  return InvertedResidual(Conv2d(p, e.as<const float>(), bias), std::move(separable));
}

py::array run_inverted_residual(const InvertedResidual& block, const py::array& input,
                                const std::optional<py::array>& residual) {
  const Conv2dParams& depthwise = block.separable().depthwise();
  const int64_t channels = block.expand().params().in_channels;
  const Nhwc<const float> x = dense_nhwc<const float>(input, kOp, "input");
  check(x.c == channels, kOp, "expected input with ", channels, " channels, got ", x.c);
  check_conv2d(kOp, depthwise, x.h, x.w);
  const std::vector<int64_t> shape = {x.n, depthwise.out_h(x.h), depthwise.out_w(x.w),
                                      block.separable().out_channels()};
  Nhwc<const float> r;
  if (residual) {
    r = dense_nhwc<const float>(*residual, kOp, "residual");
    check(std::vector<int64_t>{r.n, r.h, r.w, r.c} == shape, kOp, "expected residual of shape ",
          shape_text(shape.data(), 4), ", got ",
          shape_text(dense_view<const float>(*residual, kOp, "residual", 4)));
  }
  py::array output = empty<float>(kOp, shape);
  const Nhwc<float> y = dense_nhwc<float>(output, kOp, "output");
  {
    py::gil_scoped_release release;
    block.run(x, residual ? &r : nullptr, y);
  }
  return output;
}

py::array run_inverted_residual_nchw(const InvertedResidual& block, const py::array& input,
                                     const std::optional<py::array>& residual) {
  const Conv2dParams& depthwise = block.separable().depthwise();
  const auto x = input_planes<float>(input, kOp, block.expand().params().in_channels);
  check_conv2d(kOp, depthwise, x.h, x.w);
  const std::vector<int64_t> shape = {x.n, block.separable().out_channels(), depthwise.out_h(x.h),
                                      depthwise.out_w(x.w)};
  const float* const r = residual_planes(residual, kOp, shape);
  return filled_planes<float>(kOp, shape, [&](float* y) { block.run_nchw(x.data, x.n, x.h, x.w, r, y); });
}

void define(py::module_& m) {
  py::class_<InvertedResidual>(m, "InvertedResidual")
      .def(py::init(&make_inverted_residual), py::arg("expand_weight"), py::arg("depthwise_weight"),
           py::arg("project_weight"), py::arg("expand_bias"), py::arg("depthwise_bias"),
           py::arg("project_bias"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
           py::arg("expand_activation") = "none", py::arg("expand_slope") = 0.01f,
           py::arg("depthwise_activation") = "none", py::arg("depthwise_slope") = 0.01f,
           py::arg("activation") = "none", py::arg("slope") = 0.01f)
      .def("run", &run_inverted_residual, py::arg("input"), py::arg("residual") = py::none())
      .def("run_nchw", &run_inverted_residual_nchw, py::arg("input"), py::arg("residual") = py::none())
      .def_property_readonly("packed_bytes", &InvertedResidual::packed_bytes);
}

}  // namespace pyvision::inverted_residual_bind

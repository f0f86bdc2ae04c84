// SPDX-License-Identifier: Apache-2.0
#include "ops/separable_conv2d/bind.h"

#include "ops/conv2d/bias.h"
#include "ops/conv2d/planes.h"

namespace pyvision {

SeparableConv2d parse_separable_conv2d(const char* op, const py::array& depthwise_weight,
                                       const py::array& pointwise_weight, const char* pointwise_name,
                                       const std::optional<py::array>& depthwise_bias,
                                       const std::optional<py::array>& pointwise_bias,
                                       const char* pointwise_bias_name, std::array<int64_t, 2> stride,
                                       std::array<int64_t, 4> padding, std::array<int64_t, 2> dilation,
                                       int64_t in_channels, const ActivationParams& depthwise_activation,
                                       const ActivationParams& activation) {
  const Tensor d = dense_view<const float>(depthwise_weight, op, "depthwise_weight", 4);
  const Tensor w = dense_view<const float>(pointwise_weight, op, pointwise_name, 4);
  check(d.shape[1] == 1, op, "expected depthwise_weight of shape (channels, 1, kernel_h, kernel_w), got ",
        shape_text(d));
  Conv2dParams p;
  p.in_channels = p.groups = in_channels;
  p.out_channels = d.shape[0];
  p.kernel_h = d.shape[2], p.kernel_w = d.shape[3];
  p.stride_h = stride[0], p.stride_w = stride[1];
  p.pad_top = padding[0], p.pad_left = padding[1], p.pad_bottom = padding[2], p.pad_right = padding[3];
  p.dilation_h = dilation[0], p.dilation_w = dilation[1];
  p.activation = depthwise_activation;
  check(p.out_channels > 0 && p.out_channels % in_channels == 0, op,
        "expected depthwise_weight with a multiple of ", in_channels, " channels, got ", shape_text(d));
  check_conv2d_params(op, p);
  check(w.shape[0] > 0 && w.shape[1] == p.out_channels && w.shape[2] == 1 && w.shape[3] == 1, op, "expected ",
        pointwise_name, " of shape (out_channels, ", p.out_channels, ", 1, 1), got ", shape_text(w));
  const float* const d_bias = bias_view<float>(depthwise_bias, p.out_channels, op, "depthwise_bias");
  const float* const w_bias = bias_view<float>(pointwise_bias, w.shape[0], op, pointwise_bias_name);
  py::gil_scoped_release release;
  return SeparableConv2d(p, w.shape[0], activation, d.as<const float>(), w.as<const float>(), d_bias, w_bias);
}

}  // namespace pyvision

namespace pyvision::separable_conv2d_bind {

constexpr const char* kOp = "separable_conv2d";

SeparableConv2d make_separable_conv2d(const py::array& depthwise_weight, const py::array& pointwise_weight,
                                      const std::optional<py::array>& depthwise_bias,
                                      const std::optional<py::array>& pointwise_bias,
                                      std::array<int64_t, 2> stride, std::array<int64_t, 4> padding,
                                      std::array<int64_t, 2> dilation, int64_t in_channels,
                                      const std::string& depthwise_activation, float depthwise_slope,
                                      const std::string& activation, float slope) {
  check(in_channels > 0, kOp, "expected input with at least one channel, got ", in_channels);
  return parse_separable_conv2d(kOp, depthwise_weight, pointwise_weight, "pointwise_weight", depthwise_bias,
                                pointwise_bias, "pointwise_bias", stride, padding, dilation, in_channels,
                                {parse_activation(kOp, depthwise_activation), depthwise_slope},
                                {parse_activation(kOp, activation), slope});
}

py::array run_separable_conv2d(const SeparableConv2d& conv, const py::array& input) {
  const Conv2dParams& p = conv.depthwise();
  const Nhwc<const float> x = dense_nhwc<const float>(input, kOp, "input");
  check(x.c == p.in_channels, kOp, "expected input with ", p.in_channels, " channels, got ", x.c);
  check_conv2d(kOp, p, x.h, x.w);
  py::array output = empty<float>(kOp, {x.n, p.out_h(x.h), p.out_w(x.w), conv.out_channels()});
  const Nhwc<float> y = dense_nhwc<float>(output, kOp, "output");
  {
    py::gil_scoped_release release;
    conv.run(x, nullptr, y);
  }
  return output;
}

py::array run_separable_conv2d_nchw(const SeparableConv2d& conv, const py::array& input) {
  const Conv2dParams& p = conv.depthwise();
  const auto x = input_planes<float>(input, kOp, p.in_channels);
  check_conv2d(kOp, p, x.h, x.w);
  return filled_planes<float>(kOp, {x.n, conv.out_channels(), p.out_h(x.h), p.out_w(x.w)},
                              [&](float* y) { conv.run_nchw(x.data, x.n, x.h, x.w, y); });
}

void define(py::module_& m) {
  py::class_<SeparableConv2d>(m, "SeparableConv2d")
      .def(py::init(&make_separable_conv2d), py::arg("depthwise_weight"), py::arg("pointwise_weight"),
           py::arg("depthwise_bias"), py::arg("pointwise_bias"), py::arg("stride"), py::arg("padding"),
           py::arg("dilation"), py::arg("in_channels"), py::arg("depthwise_activation") = "none",
           py::arg("depthwise_slope") = 0.01f, py::arg("activation") = "none", py::arg("slope") = 0.01f)
      .def("run", &run_separable_conv2d, py::arg("input"))
      .def("run_nchw", &run_separable_conv2d_nchw, py::arg("input"))
      .def_property_readonly("packed_bytes", &SeparableConv2d::packed_bytes);
}

}  // namespace pyvision::separable_conv2d_bind

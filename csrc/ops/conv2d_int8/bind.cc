// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <optional>

#include "core/bind.h"
#include "ops/conv2d/bias.h"
#include "ops/conv2d/planes.h"
#include "ops/conv2d_int8/conv2d_int8.h"

namespace pyvision::conv2d_int8_bind {

constexpr const char* kOp = "conv2d_int8";

void check_scale(float scale, const char* name) {
  check(std::isfinite(scale) && scale > 0, kOp, "expected ", name, " to be positive and finite, got ", scale);
}

uint8_t check_zero_point(int64_t value, const char* name) {
  check(value >= 0 && value <= 255, kOp, "expected ", name, " in [0, 255], got ", value);
  return static_cast<uint8_t>(value);
}

Conv2dInt8 make_conv2d_int8(const py::array& weight, const py::array& weight_scale, float input_scale,
                            int64_t input_zero_point, const std::optional<py::array>& bias,
                            std::array<int64_t, 2> stride, std::array<int64_t, 4> padding,
                            std::array<int64_t, 2> dilation, int64_t groups,
                            std::optional<float> output_scale, int64_t output_zero_point,
                            const std::string& activation, float slope) {
  const Tensor w = dense_view<const int8_t>(weight, kOp, "weight", 4);
  Conv2dParams p;
  p.out_channels = w.shape[0];
  p.in_channels = w.shape[1] * groups;
  p.kernel_h = w.shape[2], p.kernel_w = w.shape[3];
  p.stride_h = stride[0], p.stride_w = stride[1];
  p.pad_top = padding[0], p.pad_left = padding[1], p.pad_bottom = padding[2], p.pad_right = padding[3];
  p.dilation_h = dilation[0], p.dilation_w = dilation[1];
  p.groups = groups;
  p.activation = {parse_activation(kOp, activation), slope};
  check_conv2d_params(kOp, p);
  const int64_t products = w.shape[1] * w.shape[2] * w.shape[3];
  check(products <= kMostInt8Products, kOp, "expected weight with at most ", kMostInt8Products,
        " values a channel, got ", products);

  Quantization q;
  check_scale(q.input_scale = input_scale, "input_scale");
  q.input_zero_point = check_zero_point(input_zero_point, "input_zero_point");
  q.to_u8 = output_scale.has_value();
  check_scale(q.output_scale = output_scale.value_or(1.0f), "output_scale");
  q.output_zero_point = check_zero_point(output_zero_point, "output_zero_point");
  const Tensor scale = dense_view<const float>(weight_scale, kOp, "weight_scale", 1);
  check(scale.shape[0] == p.out_channels, kOp, "expected weight_scale of shape (", p.out_channels, ",), got ",
        shape_text(scale));
  for (int64_t o = 0; o < p.out_channels; ++o) {
    check_scale(scale.as<const float>()[o], "weight_scale");
    check_scale(q.input_scale * scale.as<const float>()[o] / q.output_scale,
                "input_scale * weight_scale / output_scale");
  }
  const int32_t* const b = bias_view<int32_t>(bias, p.out_channels, kOp);
  py::gil_scoped_release release;
  return Conv2dInt8(p, q, w.as<const int8_t>(), scale.as<const float>(), b);
}

template <class Out>
py::array run_to(const Conv2dInt8& conv, const Nhwc<const uint8_t>& x) {
  const Conv2dParams& p = conv.params();
  py::array output = empty<Out>(kOp, {x.n, p.out_h(x.h), p.out_w(x.w), p.out_channels});
  const Nhwc<Out> y = dense_nhwc<Out>(output, kOp, "out");
  py::gil_scoped_release release;
  conv.run(x, y);
  return output;
}

py::array run_conv2d_int8(const Conv2dInt8& conv, const py::array& input) {
  const Conv2dParams& p = conv.params();
  const Nhwc<const uint8_t> x = dense_nhwc<const uint8_t>(input, kOp, "input");
  check(x.c == p.in_channels, kOp, "expected input with ", p.in_channels, " channels, got ", x.c);
  check_conv2d(kOp, p, x.h, x.w);
  return conv.quantization().to_u8 ? run_to<uint8_t>(conv, x) : run_to<float>(conv, x);
}

py::array run_conv2d_int8_nchw(const Conv2dInt8& conv, const py::array& input) {
  const Conv2dParams& p = conv.params();
  const auto x = input_planes<uint8_t>(input, kOp, p.in_channels);
  check_conv2d(kOp, p, x.h, x.w);
  const std::vector<int64_t> shape = {x.n, p.out_channels, p.out_h(x.h), p.out_w(x.w)};
  const auto run = [&](auto* y) { conv.run_nchw(x.data, x.n, x.h, x.w, y); };
  return conv.quantization().to_u8 ? filled_planes<uint8_t>(kOp, shape, run)
                                   : filled_planes<float>(kOp, shape, run);
}

void define(py::module_& m) {
  py::class_<Conv2dInt8>(m, "Conv2dInt8")
      .def(py::init(&make_conv2d_int8), py::arg("weight"), py::arg("weight_scale"), py::arg("input_scale"),
           py::arg("input_zero_point"), py::arg("bias") = py::none(),
           py::arg("stride") = std::array<int64_t, 2>{1, 1}, py::arg("padding") = std::array<int64_t, 4>{},
           py::arg("dilation") = std::array<int64_t, 2>{1, 1}, py::arg("groups") = 1,
           py::arg("output_scale") = py::none(), py::arg("output_zero_point") = 0,
           py::arg("activation") = "none", py::arg("slope") = 0.01f)
      .def("run", &run_conv2d_int8, py::arg("input"))
      .def("run_nchw", &run_conv2d_int8_nchw, py::arg("input"))
      .def_property_readonly("kernel_isa", &Conv2dInt8::kernel_isa);
}

}  // namespace pyvision::conv2d_int8_bind

// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "conv/f64.h"
#include "core/bind.h"
#include "ops/conv2d/bias.h"
#include "ops/conv2d/conv2d.h"
#include "ops/conv2d/planes.h"

namespace pyvision::conv2d_bind {

// A convolution that speaks as the op whose work it does.
struct NamedConv2d {
  Conv2d conv;
  std::string op;
};

bool overlap(const py::array& a, const py::array& b) {
  const auto* a_begin = static_cast<const char*>(a.data());
  const auto* b_begin = static_cast<const char*>(b.data());
  return a_begin < b_begin + b.nbytes() && b_begin < a_begin + a.nbytes();
}

Conv2dParams make_params(const char* op, int64_t in_channels, int64_t out_channels,
                         std::array<int64_t, 2> kernel, std::array<int64_t, 2> stride,
                         std::array<int64_t, 4> padding, std::array<int64_t, 2> dilation, int64_t groups) {
  Conv2dParams p;
  p.in_channels = in_channels, p.out_channels = out_channels;
  p.kernel_h = kernel[0], p.kernel_w = kernel[1];
  p.stride_h = stride[0], p.stride_w = stride[1];
  p.pad_top = padding[0], p.pad_left = padding[1], p.pad_bottom = padding[2], p.pad_right = padding[3];
  p.dilation_h = dilation[0], p.dilation_w = dilation[1];
  p.groups = groups;
  check_conv2d_params(op, p);
  return p;
}

NamedConv2d make_conv2d(const py::array& weight, const std::optional<py::array>& bias,
                        std::array<int64_t, 2> stride, std::array<int64_t, 4> padding,
                        std::array<int64_t, 2> dilation, int64_t groups, const std::string& activation,
                        float slope, const std::string& algorithm, std::array<int64_t, 2> input_size,
                        bool allow_winograd, const std::string& precision, const std::string& op_name) {
  const char* op = op_name.c_str();
  const Tensor w = dense_view<const float>(weight, op, "weight", 4);
  Conv2dParams p = make_params(op, w.shape[1] * groups, w.shape[0], {w.shape[2], w.shape[3]}, stride, padding,
                               dilation, groups);
  p.activation = {parse_activation(op, activation), slope};
  p.allow_winograd = allow_winograd;
  p.precision = parse_precision(op, precision);
  const float* b = bias_view<float>(bias, p.out_channels, op);
  const Conv2dAlgorithm chosen = parse_conv2d_algorithm(op, algorithm);
  py::gil_scoped_release release;
  return {Conv2d(p, w.as<const float>(), b, chosen, input_size[0], input_size[1]), op_name};
}

// T: what all the maps are stored as.
template <class T>
py::array run_conv2d_on(const NamedConv2d& named, const py::array& input,
                        const std::optional<py::array>& residual, const std::optional<py::array>& out) {
  const char* op = named.op.c_str();
  const Conv2d& conv = named.conv;
  const Conv2dParams& p = conv.params();
  const Nhwc<const T> x = dense_nhwc<const T>(input, op, "input");
  check(x.c == p.in_channels, op, "expected input with ", p.in_channels, " channels, got ", x.c);
  check_conv2d(op, p, x.h, x.w);
  const std::vector<int64_t> shape = {x.n, p.out_h(x.h), p.out_w(x.w), p.out_channels};
  const auto check_shape = [&](const Nhwc<const T>& y, const char* name) {
    check(y.n == shape[0] && y.h == shape[1] && y.w == shape[2] && y.c == shape[3], op, "expected ", name,
          " of shape (N, H, W, C) = ", shape_text(shape.data(), 4), ", got (", y.n, ", ", y.h, ", ", y.w,
          ", ", y.c, ")");
  };
  Nhwc<const T> r;
  if (residual) check_shape(r = dense_nhwc<const T>(*residual, op, "residual"), "residual");
  if (out) {
    check_shape(dense_nhwc<const T>(*out, op, "out"), "out");
    check(!overlap(*out, input), op, "expected out apart from the input, got overlapping memory");
    check(!residual || out->data() == residual->data() || !overlap(*out, *residual), op,
          "expected residual to be out or apart from it, got overlapping memory");
  }
  py::array output = out ? *out : empty<T>(op, shape);
  const Nhwc<T> y = dense_nhwc<T>(output, op, "out");
  {
    py::gil_scoped_release release;
    conv.run(x, residual ? &r : nullptr, y);
  }
  return output;
}

py::array run_conv2d(const NamedConv2d& named, const py::array& input,
                     const std::optional<py::array>& residual, const std::optional<py::array>& out) {
  const bool is_bf16 = py::isinstance<py::array_t<NumpyType<Bf16>::type>>(input);
  if (is_bf16 && named.conv.params().precision == Precision::kBf16)
    return run_conv2d_on<Bf16>(named, input, residual, out);
  return run_conv2d_on<float>(named, input, residual, out);
}

py::array run_conv2d_nchw(const NamedConv2d& named, const py::array& input,
                          const std::optional<py::array>& residual) {
  const char* op = named.op.c_str();
  const Conv2dParams& p = named.conv.params();
  const auto x = input_planes<float>(input, op, p.in_channels);
  check_conv2d(op, p, x.h, x.w);
  const std::vector<int64_t> shape = {x.n, p.out_channels, p.out_h(x.h), p.out_w(x.w)};
  const float* const r = residual_planes(residual, op, shape);
  return filled_planes<float>(op, shape, [&](float* y) { named.conv.run_nchw(x.data, x.n, x.h, x.w, r, y); });
}

// weight: (out_channels, kernel_h, kernel_w, in_channels / groups)
py::array run_conv2d_f64(const py::array& input, const py::array& weight,
                         const std::optional<py::array>& bias, std::array<int64_t, 2> stride,
                         std::array<int64_t, 4> padding, std::array<int64_t, 2> dilation, int64_t groups,
                         const std::string& op_name) {
  const char* op = op_name.c_str();
  const Nhwc<const double> x = dense_nhwc<const double>(input, op, "input");
  const Tensor w = dense_view<const double>(weight, op, "weight", 4);
  const Conv2dParams p = make_params(op, w.shape[3] * groups, w.shape[0], {w.shape[1], w.shape[2]}, stride,
                                     padding, dilation, groups);
  check(x.c == p.in_channels, op, "expected input with ", p.in_channels, " channels, got ", x.c);
  check_conv2d(op, p, x.h, x.w);
  const double* b = bias_view<double>(bias, p.out_channels, op);
  auto output = empty<double>(op, {x.n, p.out_h(x.h), p.out_w(x.w), p.out_channels});
  const Nhwc<double> y = dense_nhwc<double>(output, op, "output");
  {
    py::gil_scoped_release release;
    conv2d_f64(p, x, w.as<const double>(), b, y);
  }
  return output;
}

void define(py::module_& m) {
  py::class_<NamedConv2d>(m, "Conv2d")
      .def(py::init(&make_conv2d), py::arg("weight"), py::arg("bias") = py::none(),
           py::arg("stride") = std::array<int64_t, 2>{1, 1}, py::arg("padding") = std::array<int64_t, 4>{},
           py::arg("dilation") = std::array<int64_t, 2>{1, 1}, py::arg("groups") = 1,
           py::arg("activation") = "none", py::arg("slope") = 0.01f, py::arg("algorithm") = "auto",
           py::arg("input_size") = std::array<int64_t, 2>{0, 0}, py::arg("allow_winograd") = true,
           py::arg("precision") = "f32", py::arg("op") = "conv2d")
      .def("run", &run_conv2d, py::arg("input"), py::arg("residual") = py::none(),
           py::arg("out") = py::none())
      .def("run_nchw", &run_conv2d_nchw, py::arg("input"), py::arg("residual") = py::none())
      .def_property_readonly("algorithm",
                             [](const NamedConv2d& c) { return conv2d_algorithm_name(c.conv.algorithm()); })
      .def_property_readonly("kernel_isa", [](const NamedConv2d& c) { return c.conv.kernel_isa(); })
      .def_property_readonly("packed_bytes", [](const NamedConv2d& c) { return c.conv.packed_bytes(); });
  m.def("conv2d_f64", &run_conv2d_f64, py::arg("input"), py::arg("weight"), py::arg("bias"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("op"));
}

}  // namespace pyvision::conv2d_bind

// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "core/bind.h"
#include "ops/conv2d/conv2d.h"

namespace pyvision {
namespace {

constexpr const char* kOp = "conv2d";

bool overlap(const py::array& a, const py::array& b) {
  const auto* a_begin = static_cast<const char*>(a.data());
  const auto* b_begin = static_cast<const char*>(b.data());
  return a_begin < b_begin + b.nbytes() && b_begin < a_begin + a.nbytes();
}

Conv2d make_conv2d(const py::array& weight, const std::optional<py::array>& bias,
                   std::array<int64_t, 2> stride, std::array<int64_t, 4> padding,
                   std::array<int64_t, 2> dilation, int64_t groups, const std::string& activation,
                   float slope, const std::string& algorithm, std::array<int64_t, 2> input_size,
                   bool allow_winograd, const std::string& precision) {
  const Tensor w = dense_view<const float>(weight, kOp, "weight", 4);
  Conv2dParams p;
  p.out_channels = w.shape[0];
  p.in_channels = w.shape[1] * groups;
  p.kernel_h = w.shape[2], p.kernel_w = w.shape[3];
  p.stride_h = stride[0], p.stride_w = stride[1];
  p.pad_top = padding[0], p.pad_left = padding[1], p.pad_bottom = padding[2], p.pad_right = padding[3];
  p.dilation_h = dilation[0], p.dilation_w = dilation[1];
  p.groups = groups;
  p.activation = {parse_activation(kOp, activation), slope};
  p.allow_winograd = allow_winograd;
  p.precision = parse_precision(kOp, precision);
  check_conv2d_params(kOp, p);
  const float* b = nullptr;
  if (bias) {
    const Tensor view = dense_view<const float>(*bias, kOp, "bias", 1);
    check(view.shape[0] == p.out_channels, kOp, "expected bias of shape (", p.out_channels, ",), got ",
          shape_text(view));
    b = view.as<const float>();
  }
  py::gil_scoped_release release;
  return Conv2d(p, w.as<const float>(), b, parse_conv2d_algorithm(kOp, algorithm), input_size[0],
                input_size[1]);
}

// T: what all the maps are stored as.
template <class T>
py::array run_conv2d_on(const Conv2d& conv, const py::array& input, const std::optional<py::array>& residual,
                        const std::optional<py::array>& out) {
  const Conv2dParams& p = conv.params();
  const Nhwc<const T> x = dense_nhwc<const T>(input, kOp, "input");
  check(x.c == p.in_channels, kOp, "expected input with ", p.in_channels, " channels, got ", x.c);
  check_conv2d(kOp, p, x.h, x.w);
  const std::vector<int64_t> shape = {x.n, p.out_h(x.h), p.out_w(x.w), p.out_channels};
  const auto check_shape = [&](const Nhwc<const T>& y, const char* name) {
    check(y.n == shape[0] && y.h == shape[1] && y.w == shape[2] && y.c == shape[3], kOp, "expected ", name,
          " of shape (N, H, W, C) = ", shape_text(shape.data(), 4), ", got (", y.n, ", ", y.h, ", ", y.w,
          ", ", y.c, ")");
  };
  Nhwc<const T> r;
  if (residual) check_shape(r = dense_nhwc<const T>(*residual, kOp, "residual"), "residual");
  if (out) {
    check_shape(dense_nhwc<const T>(*out, kOp, "out"), "out");
    check(!overlap(*out, input), kOp, "expected out apart from the input, got overlapping memory");
    check(!residual || out->data() == residual->data() || !overlap(*out, *residual), kOp,
          "expected residual to be out or apart from it, got overlapping memory");
  }
  py::array output = out ? *out : empty<T>(kOp, shape);
  const Nhwc<T> y = dense_nhwc<T>(output, kOp, "out");
  {
    py::gil_scoped_release release;
    conv.run(x, residual ? &r : nullptr, y);
  }
  return output;
}

py::array run_conv2d(const Conv2d& conv, const py::array& input, const std::optional<py::array>& residual,
                     const std::optional<py::array>& out) {
  const bool is_bf16 = py::isinstance<py::array_t<NumpyType<Bf16>::type>>(input);
  if (is_bf16 && conv.params().precision == Precision::kBf16)
    return run_conv2d_on<Bf16>(conv, input, residual, out);
  return run_conv2d_on<float>(conv, input, residual, out);
}

py::array run_conv2d_nchw(const Conv2d& conv, const py::array& input) {
  const Conv2dParams& p = conv.params();
  const Tensor x = dense_view<const float>(input, kOp, "input", 4);
  check(x.shape[1] == p.in_channels, kOp, "expected input with ", p.in_channels, " channels, got ",
        x.shape[1]);
  check_conv2d(kOp, p, x.shape[2], x.shape[3]);
  auto output = empty<float>(kOp, {x.shape[0], p.out_channels, p.out_h(x.shape[2]), p.out_w(x.shape[3])});
  float* const y = output.mutable_data();
  {
    py::gil_scoped_release release;
    conv.run_nchw(x.as<const float>(), x.shape[0], x.shape[2], x.shape[3], y);
  }
  return std::move(output);
}

}  // namespace

void bind_conv2d(py::module_& m) {
  py::class_<Conv2d>(m, "Conv2d")
      .def(py::init(&make_conv2d), py::arg("weight"), py::arg("bias") = py::none(),
           py::arg("stride") = std::array<int64_t, 2>{1, 1}, py::arg("padding") = std::array<int64_t, 4>{},
           py::arg("dilation") = std::array<int64_t, 2>{1, 1}, py::arg("groups") = 1,
           py::arg("activation") = "none", py::arg("slope") = 0.01f, py::arg("algorithm") = "auto",
           py::arg("input_size") = std::array<int64_t, 2>{0, 0}, py::arg("allow_winograd") = true,
           py::arg("precision") = "f32")
      .def("run", &run_conv2d, py::arg("input"), py::arg("residual") = py::none(),
           py::arg("out") = py::none())
      .def("run_nchw", &run_conv2d_nchw, py::arg("input"))
      .def_property_readonly("algorithm",
                             [](const Conv2d& conv) { return conv2d_algorithm_name(conv.algorithm()); })
      .def_property_readonly("kernel_isa", &Conv2d::kernel_isa)
      .def_property_readonly("packed_bytes", &Conv2d::packed_bytes);
}

}  // namespace pyvision

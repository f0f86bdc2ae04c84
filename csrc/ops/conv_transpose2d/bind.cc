// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "conv/f64.h"
#include "core/arena.h"
#include "core/bind.h"
#include "ops/conv2d/bias.h"
#include "ops/conv2d/planes.h"
#include "ops/conv_transpose2d/conv_transpose2d.h"
#include "ops/layout/layout.h"

namespace pyvision::conv_transpose2d_bind {

constexpr const char* kOp = "conv_transpose2d";
using Pair = std::array<int64_t, 2>;

ConvTranspose2dParams make_params(int64_t in_channels, int64_t group_out, Pair kernel, Pair stride,
                                  Pair padding, Pair output_padding, int64_t groups, Pair dilation) {
  ConvTranspose2dParams p;
  p.in_channels = in_channels, p.out_channels = group_out * groups;
  p.kernel_h = kernel[0], p.kernel_w = kernel[1];
  p.stride_h = stride[0], p.stride_w = stride[1];
  p.padding_h = padding[0], p.padding_w = padding[1];
  p.output_padding_h = output_padding[0], p.output_padding_w = output_padding[1];
  p.dilation_h = dilation[0], p.dilation_w = dilation[1];
  p.groups = groups;
  check_conv_transpose2d_params(kOp, p);
  return p;
}

// A fresh output for this input, after checking that it fits.
template <class T>
py::array_t<T> output_for(const ConvTranspose2dParams& p, const Nhwc<const T>& x) {
  check(x.c == p.in_channels, kOp, "expected input with ", p.in_channels, " channels, got ", x.c);
  check_conv_transpose2d(kOp, p, x.h, x.w);
  return empty<T>(kOp, {x.n, p.out_h(x.h), p.out_w(x.w), p.out_channels});
}

ConvTranspose2d make_conv_transpose2d(const py::array& weight, const std::optional<py::array>& bias,
                                      Pair stride, Pair padding, Pair output_padding, int64_t groups,
                                      Pair dilation, const std::string& activation, float slope,
                                      Pair input_size, bool allow_winograd) {
  const Tensor w = dense_view<const float>(weight, kOp, "weight", 4);
  ConvTranspose2dParams p = make_params(w.shape[0], w.shape[1], {w.shape[2], w.shape[3]}, stride, padding,
                                        output_padding, groups, dilation);
  p.activation = {parse_activation(kOp, activation), slope};
  p.allow_winograd = allow_winograd;
  const float* b = bias_view<float>(bias, p.out_channels, kOp);
  py::gil_scoped_release release;
  const AlignedBuffer channels_last(static_cast<size_t>(w.numel()) * sizeof(float));
  const int64_t taps = w.shape[2] * w.shape[3];
  nchw_to_nhwc(w.as<const float>(), channels_last.as<float>(), w.shape[0], w.shape[1], taps, taps);
  return ConvTranspose2d(p, channels_last.as<float>(), b, input_size[0], input_size[1]);
}

py::array_t<float> run_conv_transpose2d(const ConvTranspose2d& conv, const py::array& input) {
  const Nhwc<const float> x = dense_nhwc<const float>(input, kOp, "input");
  auto output = output_for(conv.params(), x);
  const Nhwc<float> y = dense_nhwc<float>(output, kOp, "output");
  {
    py::gil_scoped_release release;
    conv.run(x, y);
  }
  return output;
}

py::array run_conv_transpose2d_nchw(const ConvTranspose2d& conv, const py::array& input) {
  const ConvTranspose2dParams& p = conv.params();
  const auto x = input_planes<float>(input, kOp, p.in_channels);
  check_conv_transpose2d(kOp, p, x.h, x.w);
  return filled_planes<float>(kOp, {x.n, p.out_channels, p.out_h(x.h), p.out_w(x.w)},
                              [&](float* y) { conv.run_nchw(x.data, x.n, x.h, x.w, y); });
}

// weight: (in_channels, kernel_h, kernel_w, out_channels / groups)
py::array_t<double> run_conv_transpose2d_f64(const py::array& input, const py::array& weight,
                                             const std::optional<py::array>& bias, Pair stride, Pair padding,
                                             Pair output_padding, int64_t groups, Pair dilation) {
  const Nhwc<const double> x = dense_nhwc<const double>(input, kOp, "input");
  const Tensor w = dense_view<const double>(weight, kOp, "weight", 4);
  const ConvTranspose2dParams p = make_params(w.shape[0], w.shape[3], {w.shape[1], w.shape[2]}, stride,
                                              padding, output_padding, groups, dilation);
  const double* b = bias_view<double>(bias, p.out_channels, kOp);
  auto output = output_for(p, x);
  const Nhwc<double> y = dense_nhwc<double>(output, kOp, "output");
  {
    py::gil_scoped_release release;
    conv2d_adjoint_f64(adjoint_of(p), x, w.as<const double>(), b, y);
  }
  return output;
}

void define(py::module_& m) {
  py::class_<ConvTranspose2d>(m, "ConvTranspose2d")
      .def(py::init(&make_conv_transpose2d), py::arg("weight"), py::arg("bias") = py::none(),
           py::arg("stride") = Pair{1, 1}, py::arg("padding") = Pair{0, 0},
           py::arg("output_padding") = Pair{0, 0}, py::arg("groups") = 1, py::arg("dilation") = Pair{1, 1},
           py::arg("activation") = "none", py::arg("slope") = 0.01f, py::arg("input_size") = Pair{0, 0},
           py::arg("allow_winograd") = true)
      .def("run", &run_conv_transpose2d, py::arg("input"))
      .def("run_nchw", &run_conv_transpose2d_nchw, py::arg("input"))
      .def_property_readonly("packed_bytes", &ConvTranspose2d::packed_bytes);
  m.def("conv_transpose2d_f64", &run_conv_transpose2d_f64, py::arg("input"), py::arg("weight"),
        py::arg("bias"), py::arg("stride"), py::arg("padding"), py::arg("output_padding"), py::arg("groups"),
        py::arg("dilation"));
}

}  // namespace pyvision::conv_transpose2d_bind

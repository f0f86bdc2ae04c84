// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "core/bind.h"
#include "ops/conv_transpose2d/conv_transpose2d.h"

namespace pyvision {
namespace {

constexpr const char* kOp = "conv_transpose2d";
using Pair = std::array<int64_t, 2>;

ConvTranspose2d make_conv_transpose2d(const py::array& weight, const std::optional<py::array>& bias,
                                      Pair stride, Pair padding, Pair output_padding, int64_t groups,
                                      Pair dilation, const std::string& activation, float slope) {
  const Tensor w = dense_view<const float>(weight, kOp, "weight", 4);
  ConvTranspose2dParams p;
  p.in_channels = w.shape[0];
  p.out_channels = w.shape[1] * groups;
  p.kernel_h = w.shape[2], p.kernel_w = w.shape[3];
  p.stride_h = stride[0], p.stride_w = stride[1];
  p.padding_h = padding[0], p.padding_w = padding[1];
  p.output_padding_h = output_padding[0], p.output_padding_w = output_padding[1];
  p.dilation_h = dilation[0], p.dilation_w = dilation[1];
  p.groups = groups;
  p.activation = {parse_activation(kOp, activation), slope};
  check_conv_transpose2d_params(kOp, p);
  const float* b = nullptr;
  if (bias) {
    const Tensor view = dense_view<const float>(*bias, kOp, "bias", 1);
    check(view.shape[0] == p.out_channels, kOp, "expected bias of shape (", p.out_channels, ",), got ",
          shape_text(view));
    b = view.as<const float>();
  }
  py::gil_scoped_release release;
  return ConvTranspose2d(p, w.as<const float>(), b);
}

py::array_t<float> run_conv_transpose2d(const ConvTranspose2d& conv, const py::array& input) {
  const ConvTranspose2dParams& p = conv.params();
  const Nhwc<const float> x = dense_nhwc<const float>(input, kOp, "input");
  check(x.c == p.in_channels, kOp, "expected input with ", p.in_channels, " channels, got ", x.c);
  check_conv_transpose2d(kOp, p, x.h, x.w);
  auto output = empty<float>(kOp, {x.n, p.out_h(x.h), p.out_w(x.w), p.out_channels});
  const Nhwc<float> y = dense_nhwc<float>(output, kOp, "output");
  {
    py::gil_scoped_release release;
    conv.run(x, y);
  }
  return output;
}

}  // namespace

void bind_conv_transpose2d(py::module_& m) {
  py::class_<ConvTranspose2d>(m, "ConvTranspose2d")
      .def(py::init(&make_conv_transpose2d), py::arg("weight"), py::arg("bias") = py::none(),
           py::arg("stride") = Pair{1, 1}, py::arg("padding") = Pair{0, 0},
           py::arg("output_padding") = Pair{0, 0}, py::arg("groups") = 1, py::arg("dilation") = Pair{1, 1},
           py::arg("activation") = "none", py::arg("slope") = 0.01f)
      .def("run", &run_conv_transpose2d, py::arg("input"))
      .def_property_readonly("packed_bytes", &ConvTranspose2d::packed_bytes);
}

}  // namespace pyvision

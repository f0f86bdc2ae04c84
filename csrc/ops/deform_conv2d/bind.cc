// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <optional>

#include "core/bind.h"
#include "ops/conv2d/bias.h"
#include "ops/conv2d/planes.h"
#include "ops/deform_conv2d/deform_conv2d.h"

namespace pyvision::deform_conv2d_bind {

constexpr const char* kOp = "deform_conv2d";
constexpr const char* kBackward = "deform_conv2d_backward";

struct Geometry {
  std::array<int64_t, 2> stride, padding, dilation;
};

// What forward and backward share: every operand but bias and gradients, checked against each other.
template <class T>
struct Operands {
  Conv2dParams params;
  DeformField<T> field;
  const T* weight;
};

template <class T>
StridedMap<const T> strided_map(const char* op, const char* name, const py::array& array,
                                const std::array<int64_t, 4>& shape) {
  const Tensor t = view<const T>(array, op, name);
  check(t.rank == 4 && std::equal(shape.begin(), shape.end(), t.shape), op, "expected ", name,
        " of shape (N, C, H, W) = ", shape_text(shape.data(), 4), ", got ", shape_text(t));
  return {t.as<const T>(), t.strides[0], t.strides[1], t.strides[2], t.strides[3]};
}

template <class T>
Operands<T> parse(const char* op, const Nhwc<const T>& input, const py::array& offset,
                  const py::array& weight, const std::optional<py::array>& mask, const Geometry& geometry) {
  Operands<T> x;
  x.field.input = input;
  const Tensor w = dense_view<const T>(weight, op, "weight", 4);
  x.weight = w.as<const T>();
  check(w.shape[1] > 0 && x.field.input.c % w.shape[1] == 0 && x.field.input.c > 0, op,
        "expected input with a multiple of the ", w.shape[1], " channels of weight, got ", x.field.input.c);
  Conv2dParams& p = x.params;
  p.in_channels = x.field.input.c, p.out_channels = w.shape[0];
  p.kernel_h = w.shape[2], p.kernel_w = w.shape[3];
  p.stride_h = geometry.stride[0], p.stride_w = geometry.stride[1];
  p.pad_top = p.pad_bottom = geometry.padding[0], p.pad_left = p.pad_right = geometry.padding[1];
  p.dilation_h = geometry.dilation[0], p.dilation_w = geometry.dilation[1];
  p.groups = p.in_channels / w.shape[1];
  check_conv2d(op, p, x.field.input.h, x.field.input.w);

  const int64_t taps = p.kernel_h * p.kernel_w, n = x.field.input.n;
  const int64_t out_h = p.out_h(x.field.input.h), out_w = p.out_w(x.field.input.w);
  check(offset.ndim() == 4, op, "expected offset with 4 dimensions, got ", offset.ndim());
  const int64_t groups = offset.shape(1) / (2 * taps);
  check(groups > 0 && offset.shape(1) == groups * 2 * taps && p.in_channels % groups == 0, op,
        "expected offset with 2 * ", p.kernel_h, " * ", p.kernel_w,
        " channels per offset group, whose number divides the ", p.in_channels, " channels of input, got ",
        offset.shape(1));
  x.field.offset = strided_map<T>(op, "offset", offset, {n, 2 * groups * taps, out_h, out_w});
  if (mask) x.field.mask = strided_map<T>(op, "mask", *mask, {n, groups * taps, out_h, out_w});
  set_deform_geometry(p, groups, &x.field);
  return x;
}

template <class T>
py::array forward(const py::array& input, const py::array& offset, const py::array& weight,
                  const std::optional<py::array>& bias, const std::optional<py::array>& mask,
                  const Geometry& geometry) {
  const Operands<T> x =
      parse<T>(kOp, dense_nhwc<const T>(input, kOp, "input"), offset, weight, mask, geometry);
  const T* const b = bias_view<T>(bias, x.params.out_channels, kOp);
  py::array output = empty<T>(kOp, {x.field.input.n, x.field.out_h, x.field.out_w, x.params.out_channels});
  const Nhwc<T> y = dense_nhwc<T>(output, kOp, "output");
  py::gil_scoped_release release;
  deform_conv2d(x.params, x.field, x.weight, b, y);
  return output;
}

py::array forward_nchw(const py::array& input, const py::array& offset, const py::array& weight,
                       const std::optional<py::array>& bias, const std::optional<py::array>& mask,
                       std::array<int64_t, 2> stride, std::array<int64_t, 2> padding,
                       std::array<int64_t, 2> dilation) {
  const Tensor planes = dense_view<const float>(input, kOp, "input", 4);
  const auto extents =
      dense_nhwc<const float>(nullptr, planes.shape[0], planes.shape[2], planes.shape[3], planes.shape[1]);
  const Operands<float> x = parse<float>(kOp, extents, offset, weight, mask, {stride, padding, dilation});
  const float* const b = bias_view<float>(bias, x.params.out_channels, kOp);
  return filled_planes<float>(
      kOp, {extents.n, x.params.out_channels, x.field.out_h, x.field.out_w},
      [&](float* y) { deform_conv2d_nchw(x.params, x.field, planes.as<const float>(), x.weight, b, y); });
}

template <class T>
py::tuple backward(const py::array& grad_output, const py::array& input, const py::array& offset,
                   const py::array& weight, const std::optional<py::array>& mask, const Geometry& geometry) {
  const Operands<T> x =
      parse<T>(kBackward, dense_nhwc<const T>(input, kBackward, "input"), offset, weight, mask, geometry);
  const Conv2dParams& p = x.params;
  const int64_t n = x.field.input.n, out_h = x.field.out_h, out_w = x.field.out_w;
  const std::vector<int64_t> shape = {n, out_h, out_w, p.out_channels};
  const Tensor g = dense_view<const T>(grad_output, kBackward, "grad_output", 4);
  check(std::equal(shape.begin(), shape.end(), g.shape), kBackward,
        "expected grad_output of shape (N, H, W, C) = ", shape_text(shape.data(), 4), ", got ",
        shape_text(g));
  auto grad_input = empty<T>(kBackward, {n, x.field.input.h, x.field.input.w, p.in_channels});
  auto grad_offset = empty<T>(kBackward, {n, out_h, out_w, offset.shape(1)});
  auto grad_weight = empty<T>(kBackward, {p.out_channels, p.in_channels / p.groups, p.kernel_h, p.kernel_w});
  auto grad_bias = empty<T>(kBackward, {p.out_channels});
  py::array_t<T> grad_mask;
  if (mask) grad_mask = empty<T>(kBackward, {n, out_h, out_w, mask->shape(1)});
  const DeformConv2dGradients<T> grad = {grad_input.mutable_data(), grad_offset.mutable_data(),
                                         grad_weight.mutable_data(), grad_bias.mutable_data(),
                                         mask ? grad_mask.mutable_data() : nullptr};
  {
    py::gil_scoped_release release;
    deform_conv2d_backward(p, x.field, x.weight, g.as<const T>(), grad);
  }
  py::object last = py::none();
  if (mask) last = grad_mask;
  return py::make_tuple(grad_input, grad_offset, grad_weight, grad_bias, last);
}

using Pair = std::array<int64_t, 2>;

void define(py::module_& m) {
  m.def(
      kOp,
      [](const py::array& input, const py::array& offset, const py::array& weight,
         const std::optional<py::array>& bias, const std::optional<py::array>& mask, Pair stride,
         Pair padding, Pair dilation) {
        const auto run = is_f64(input) ? forward<double> : forward<float>;
        return run(input, offset, weight, bias, mask, {stride, padding, dilation});
      },
      py::arg("input"), py::arg("offset"), py::arg("weight"), py::arg("bias"), py::arg("mask"),
      py::arg("stride"), py::arg("padding"), py::arg("dilation"));
  m.def("deform_conv2d_nchw", &forward_nchw, py::arg("input"), py::arg("offset"), py::arg("weight"),
        py::arg("bias"), py::arg("mask"), py::arg("stride"), py::arg("padding"), py::arg("dilation"));
  m.def(
      kBackward,
      [](const py::array& grad_output, const py::array& input, const py::array& offset,
         const py::array& weight, const std::optional<py::array>& mask, Pair stride, Pair padding,
         Pair dilation) {
        const auto run = is_f64(input) ? backward<double> : backward<float>;
        return run(grad_output, input, offset, weight, mask, {stride, padding, dilation});
      },
      py::arg("grad_output"), py::arg("input"), py::arg("offset"), py::arg("weight"), py::arg("mask"),
      py::arg("stride"), py::arg("padding"), py::arg("dilation"));
}

}  // namespace pyvision::deform_conv2d_bind

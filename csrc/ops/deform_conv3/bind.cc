// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>
#include <optional>

#include "core/bind.h"
#include "ops/conv2d/conv2d.h"
#include "ops/deform_conv3/deform_conv3.h"

namespace pyvision::deform_conv3_bind {

struct Geometry {
  std::array<int64_t, 2> kernel_size, stride, padding, dilation;
  int64_t groups;
  double offset_scale;
  bool remove_center;
};

template <class T>
void check_map(const char* op, const char* name, const Nhwc<T>& map, int64_t n, int64_t h, int64_t w) {
  check(map.n == n && map.h == h && map.w == w, op, "expected ", name, " of shape (", n, ", ", h, ", ", w,
        ", channels), got (", map.n, ", ", map.h, ", ", map.w, ", ", map.c, ")");
}

// The mask is given for DCNv3 and absent for DCNv4, whose offsets hold it.
template <class T>
DeformConv3<T> parse(const char* op, const py::array& input, const py::array& offset,
                     const std::optional<py::array>& mask, const Geometry& g) {
  const auto x = dense_nhwc<const T>(input, op, "input");
  Conv2dParams p;
  p.in_channels = p.out_channels = x.c;
  p.kernel_h = g.kernel_size[0], p.kernel_w = g.kernel_size[1];
  p.stride_h = g.stride[0], p.stride_w = g.stride[1];
  p.pad_top = p.pad_bottom = g.padding[0], p.pad_left = p.pad_right = g.padding[1];
  p.dilation_h = g.dilation[0], p.dilation_w = g.dilation[1];
  p.groups = g.groups;
  check_conv2d(op, p, x.h, x.w);
  check(x.h <= kMaxSampledExtent && x.w <= kMaxSampledExtent, op, "expected input of at most ",
        kMaxSampledExtent, " rows and columns, got ", x.h, " x ", x.w);
  check(!g.remove_center || (p.kernel_h % 2 == 1 && p.kernel_w % 2 == 1), op,
        "expected an odd kernel_size with remove_center, got ", p.kernel_h, " x ", p.kernel_w);
  check(std::isfinite(g.offset_scale), op, "expected a finite offset_scale, got ", g.offset_scale);

  DeformConv3<T> job;
  job.input = x.data;
  job.n = x.n, job.h = x.h, job.w = x.w;
  job.groups = g.groups, job.group_channels = x.c / g.groups;
  job.out_h = p.out_h(x.h), job.out_w = p.out_w(x.w);
  job.kernel_h = p.kernel_h, job.kernel_w = p.kernel_w;
  job.stride_h = p.stride_h, job.stride_w = p.stride_w;
  job.pad_h = p.pad_top, job.pad_w = p.pad_left;
  job.dilation_h = p.dilation_h, job.dilation_w = p.dilation_w;
  job.offset_scale = static_cast<T>(g.offset_scale);
  job.remove_center = g.remove_center;
  check(p.kernel_h * p.kernel_w < int64_t{1} << 31, op, "expected a smaller kernel_size, got ", p.kernel_h,
        " x ", p.kernel_w);

  const int64_t taps = job.taps(), entries = g.groups * taps;
  const auto name = mask ? "offset" : "offset_mask";
  const auto o = dense_nhwc<const T>(offset, op, name);
  check_map(op, name, o, job.n, job.out_h, job.out_w);
  if (mask) {
    check(o.c == 2 * entries, op, "expected offset with groups * taps * 2 = ", 2 * entries, " channels, got ",
          o.c);
    const auto m = dense_nhwc<const T>(*mask, op, "mask");
    check_map(op, "mask", m, job.n, job.out_h, job.out_w);
    check(m.c == entries, op, "expected mask with groups * taps = ", entries, " channels, got ", m.c);
    job.offset = {o.data, 2 * entries, 2 * taps};
    job.mask = {m.data, entries, taps};
  } else {
    check(o.c == 3 * entries || o.c == (3 * entries + 7) / 8 * 8, op,
          "expected offset_mask with groups * taps * 3 = ", 3 * entries,
          " channels, or those padded to a multiple of 8, got ", o.c);
    job.offset = {o.data, o.c, 3 * taps};
    job.mask = {o.data + 2 * taps, o.c, 3 * taps};
  }
  return job;
}

template <class T>
py::array forward(const py::array& input, const py::array& offset, const std::optional<py::array>& mask,
                  const Geometry& geometry) {
  const char* op = mask ? "deform_conv3" : "deform_conv4";
  const DeformConv3<T> job = parse<T>(op, input, offset, mask, geometry);
  auto out = empty<T>(op, {job.n, job.out_h, job.out_w, job.groups * job.group_channels});
  T* const data = out.mutable_data();
  py::gil_scoped_release release;
  deform_conv3(job, data);
  return out;
}

template <class T>
py::tuple backward(const py::array& grad_output, const py::array& input, const py::array& offset,
                   const std::optional<py::array>& mask, const Geometry& geometry) {
  const char* op = mask ? "deform_conv3_backward" : "deform_conv4_backward";
  const DeformConv3<T> job = parse<T>(op, input, offset, mask, geometry);
  const auto y = dense_nhwc<const T>(grad_output, op, "grad_output");
  check_map(op, "grad_output", y, job.n, job.out_h, job.out_w);
  const int64_t channels = job.groups * job.group_channels;
  check(y.c == channels, op, "expected grad_output with ", channels, " channels, got ", y.c);

  DeformConv3Gradients<T> grad;
  grad.output = y.data;
  auto grad_input = empty<T>(op, {job.n, job.h, job.w, channels});
  grad.input = grad_input.mutable_data();
  auto grad_offset = empty<T>(op, {job.n, job.out_h, job.out_w, job.offset.pixel});
  grad.offset = {grad_offset.mutable_data(), job.offset.pixel, job.offset.group};
  py::array_t<T> grad_mask;
  if (mask) {
    grad_mask = empty<T>(op, {job.n, job.out_h, job.out_w, job.mask.pixel});
    grad.mask = {grad_mask.mutable_data(), job.mask.pixel, job.mask.group};
  } else {
    grad.mask = {grad.offset.data + 2 * job.taps(), job.mask.pixel, job.mask.group};
    std::fill_n(grad.offset.data, grad_offset.size(), T(0));  // the padding has no gradient
  }
  {
    py::gil_scoped_release release;
    deform_conv3_backward(job, grad);
  }
  if (mask) return py::make_tuple(grad_input, grad_offset, grad_mask);
  return py::make_tuple(grad_input, grad_offset);
}

using Pair = std::array<int64_t, 2>;

void define(py::module_& m) {
  m.def(
      "deform_conv3",
      [](const py::array& input, const py::array& offset, const std::optional<py::array>& mask,
         Pair kernel_size, Pair stride, Pair padding, Pair dilation, int64_t groups, double offset_scale,
         bool remove_center) {
        const auto run = is_f64(input) ? forward<double> : forward<float>;
        return run(input, offset, mask,
                   {kernel_size, stride, padding, dilation, groups, offset_scale, remove_center});
      },
      py::arg("input"), py::arg("offset"), py::arg("mask"), py::arg("kernel_size"), py::arg("stride"),
      py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("offset_scale"),
      py::arg("remove_center"));
  m.def(
      "deform_conv3_backward",
      [](const py::array& grad_output, const py::array& input, const py::array& offset,
         const std::optional<py::array>& mask, Pair kernel_size, Pair stride, Pair padding, Pair dilation,
         int64_t groups, double offset_scale, bool remove_center) {
        const auto run = is_f64(input) ? backward<double> : backward<float>;
        return run(grad_output, input, offset, mask,
                   {kernel_size, stride, padding, dilation, groups, offset_scale, remove_center});
      },
      py::arg("grad_output"), py::arg("input"), py::arg("offset"), py::arg("mask"), py::arg("kernel_size"),
      py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("offset_scale"),
      py::arg("remove_center"));
}

}  // namespace pyvision::deform_conv3_bind

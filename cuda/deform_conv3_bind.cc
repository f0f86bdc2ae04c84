// SPDX-License-Identifier: Apache-2.0
#include "deform_conv3.cuh"

#include <cmath>

#include "conv_bind.h"

namespace pyvision::cuda::deform_conv3_bind {

// DCNv3, or DCNv4 without a mask, whose offsets hold it.
struct Launchable {
  std::string op;
  Stream stream;
  DeformConv3Problem p;
  int64_t offset_channels, mask_channels;  // the latter 0 without a mask

  Launchable(const Stream& stream, const std::string& op_name, const DeviceArray& input,
             const DeviceArray& offset, const OptionalArray& mask, Pair kernel_size, Pair stride,
             Pair padding, Pair dilation, int64_t groups, double offset_scale, bool remove_center)
      : op(op_name), stream(stream) {
    const char* const op = op_name.c_str();
    p.dtype = checked_float_type(input, op, "input");
    p.input = checked_data(input, op, "input", stream, p.dtype, {-1, -1, -1, -1});
    const auto& x = input.tensor.shape;
    Conv2dParams q;
    q.in_channels = q.out_channels = x[3];
    q.kernel_h = p.kernel_h = kernel_size[0], q.kernel_w = p.kernel_w = kernel_size[1];
    q.stride_h = p.stride_h = stride[0], q.stride_w = p.stride_w = stride[1];
    q.pad_top = q.pad_bottom = p.pad_h = padding[0], q.pad_left = q.pad_right = p.pad_w = padding[1];
    q.dilation_h = p.dilation_h = dilation[0], q.dilation_w = p.dilation_w = dilation[1];
    q.groups = groups;
    p.n = x[0], p.h = x[1], p.w = x[2];
    check_conv2d(op, q, p.h, p.w);
    p.groups = groups, p.group_channels = x[3] / groups;
    p.out_h = q.out_h(p.h), p.out_w = q.out_w(p.w);
    check(!remove_center || (p.kernel_h % 2 == 1 && p.kernel_w % 2 == 1), op,
          "expected an odd kernel_size with remove_center, got ", p.kernel_h, " x ", p.kernel_w);
    check(std::isfinite(offset_scale), op, "expected a finite offset_scale, got ", offset_scale);
    p.offset_scale = static_cast<float>(offset_scale);
    p.remove_center = remove_center;
    check_coordinates(op, {p.h, p.w, x[3], p.kernel_h * p.kernel_w,
                           p.out_h * p.stride_h + p.pad_h + p.dilation_h * p.kernel_h,
                           p.out_w * p.stride_w + p.pad_w + p.dilation_w * p.kernel_w});
    const int64_t taps = p.taps(), entries = groups * taps;
    check(p.n * p.out_h * p.out_w <= INT32_MAX / (entries > 0 ? entries : 1), op,
          "expected fewer than 2^31 samples on CUDA");
    const char* const name = mask ? "offset" : "offset_mask";
    check(offset.tensor.rank == 4, op, "expected ", name, " with 4 dimensions, got shape ",
          shape_text(offset.tensor));
    offset_channels = offset.tensor.shape[3];
    const int64_t expected = (mask ? 2 : 3) * entries;
    check(offset_channels == expected || (!mask && offset_channels == (expected + 7) / 8 * 8), op,
          "expected ", name, " with groups * taps * ", mask ? 2 : 3, " = ", expected, " channels",
          mask ? "" : ", or those padded to a multiple of 8", ", got ", offset_channels);
    mask_channels = mask ? entries : 0;
    const auto offset_data = checked_data(offset, op, name, stream, p.dtype, map_shape(offset_channels));
    void* const mask_data =
        mask ? checked_data(*mask, op, "mask", stream, p.dtype, map_shape(entries)) : nullptr;
    p.offset = offset_entries(offset_data), p.mask = mask_entries(offset_data, mask_data);
  }

  std::vector<int64_t> map_shape(int64_t channels) const { return {p.n, p.out_h, p.out_w, channels}; }
  std::vector<int64_t> output_shape() const { return map_shape(p.groups * p.group_channels); }
  size_t workspace_bytes() const { return 0; }
  void run(const DeviceArray&, const DeviceArray& output) const {
    deform_conv3(op.c_str(), stream, p,
                 checked_data(output, op.c_str(), "output", stream, p.dtype, output_shape()));
  }

  size_t backward_workspace_bytes() const {
    return deform_conv3_backward_workspace_bytes(op.c_str(), stream, p);
  }
  void backward(const DeviceArray& grad_output, const DeviceArray& workspace, const DeviceArray& grad_input,
                const DeviceArray& grad_offset, const OptionalArray& grad_mask) const {
    const char* const op = this->op.c_str();
    DeformConv3Gradients grad;
    grad.output = checked_data(grad_output, op, "grad_output", stream, p.dtype, output_shape());
    grad.input = checked_data(grad_input, op, "grad_input", stream, p.dtype,
                              {p.n, p.h, p.w, p.groups * p.group_channels});
    void* const offset =
        checked_data(grad_offset, op, "grad_offset", stream, p.dtype, map_shape(offset_channels));
    void* const mask =
        data_or_null<void>(grad_mask, op, "grad_mask", stream, p.dtype, map_shape(mask_channels));
    check((mask != nullptr) == (mask_channels > 0) || p.n == 0, op, "expected grad_mask with a mask alone");
    grad.offset = offset_entries(offset), grad.mask = mask_entries(offset, mask);
    grad.padding = mask_channels > 0 ? 0 : offset_channels - 3 * p.groups * p.taps();
    deform_conv3_backward(op, stream, p, grad,
                          workspace_data(workspace, op, stream, backward_workspace_bytes()));
  }

 private:
  DeformEntries offset_entries(void* data) const {
    return {data, offset_channels, (mask_channels > 0 ? 2 : 3) * p.taps()};
  }
  DeformEntries mask_entries(void* offset, void* mask) const {
    if (mask_channels > 0) return {mask, mask_channels, p.taps()};
    const size_t skipped = static_cast<size_t>(2 * p.taps()) * item_size(p.dtype);
    return {static_cast<char*>(offset) + skipped, offset_channels, 3 * p.taps()};
  }
};

void define(py::module_& m) {
  py::class_<Launchable>(m, "DeformConv3")
      .def(py::init<const Stream&, const std::string&, const DeviceArray&, const DeviceArray&,
                    const OptionalArray&, Pair, Pair, Pair, Pair, int64_t, double, bool>(),
           py::arg("stream"), py::arg("op"), py::arg("input"), py::arg("offset"), py::arg("mask"),
           py::arg("kernel_size"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
           py::arg("groups"), py::arg("offset_scale"), py::arg("remove_center"))
      .def_property_readonly("output_shape", &Launchable::output_shape)
      .def_property_readonly("workspace_bytes", &Launchable::workspace_bytes)
      .def("run", &Launchable::run, py::arg("workspace"), py::arg("output"))
      .def_property_readonly("backward_workspace_bytes", &Launchable::backward_workspace_bytes)
      .def("backward", &Launchable::backward, py::arg("grad_output"), py::arg("workspace"),
           py::arg("grad_input"), py::arg("grad_offset"), py::arg("grad_mask"));
}

}  // namespace pyvision::cuda::deform_conv3_bind

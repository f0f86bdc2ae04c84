// SPDX-License-Identifier: Apache-2.0
#include "conv_bind.h"
#include "deform_conv2d.cuh"

namespace pyvision::cuda::deform_conv2d_bind {

constexpr char kOp[] = "deform_conv2d";

// A dense (n, channels, out_h, out_w) array, or with channels_last (n, out_h, out_w, channels).
DeformMap<void> map_of(const DeviceArray& array, const char* name, const ConvProblem& conv,
                       const Stream& stream, int64_t channels, bool channels_last) {
  const int64_t h = conv.out_h(), w = conv.out_w();
  if (channels_last) {
    const void* const data = checked_data(array, kOp, name, stream, conv.dtype, {conv.n, h, w, channels});
    return {data, h * w * channels, 1, w * channels, channels};
  }
  const void* const data = checked_data(array, kOp, name, stream, conv.dtype, {conv.n, channels, h, w});
  return {data, channels * h * w, h * w, w, 1};
}

struct Launchable {
  Stream stream;
  DeformProblem problem;

  Launchable(const Stream& stream, const DeviceArray& input, const DeviceArray& offset,
             const DeviceArray& weight, const OptionalArray& bias, const OptionalArray& mask, Pair stride,
             Pair padding, Pair dilation, bool channels_last)
      : stream(stream) {
    check(input.tensor.rank == 4 && weight.tensor.rank == 4 && weight.tensor.shape[3] > 0 &&
              input.tensor.shape[3] % weight.tensor.shape[3] == 0,
          kOp, "expected weight for a divisor of the input's channels, got shape ",
          shape_text(weight.tensor));
    const Sides sides = {padding[0], padding[1], padding[0], padding[1]};
    const int64_t groups = input.tensor.shape[3] / weight.tensor.shape[3];
    problem.conv = conv_problem(kOp, stream, input, weight, bias, {}, stride, sides, dilation, groups, "none",
                                0, /*tf32=*/false, /*depthwise=*/false);
    const Conv2dParams& p = problem.conv.params;
    const int64_t pair = 2 * p.kernel_h * p.kernel_w, channels = offset.tensor.shape[channels_last ? 3 : 1];
    check(offset.tensor.rank == 4 && channels > 0 && channels % pair == 0 &&
              p.in_channels % (channels / pair) == 0,
          kOp, "expected offset with ", pair, " channels for each of G groups, G a divisor of ",
          p.in_channels, ", got shape ", shape_text(offset.tensor));
    problem.offset_groups = channels / pair;
    problem.offset = map_of(offset, "offset", problem.conv, stream, channels, channels_last);
    if (mask) problem.mask = map_of(*mask, "mask", problem.conv, stream, channels / 2, channels_last);
  }

  std::vector<int64_t> output_shape() const {
    const ConvProblem& p = problem.conv;
    return {p.n, p.out_h(), p.out_w(), p.params.out_channels};
  }
  size_t workspace_bytes() const { return deform_conv2d_workspace_bytes(stream, problem); }
  void run(const DeviceArray& workspace, const DeviceArray& output) {
    problem.conv.output = checked_data(output, kOp, "output", stream, problem.conv.dtype, output_shape());
    deform_conv2d(kOp, stream, problem, workspace_data(workspace, kOp, stream, workspace_bytes()));
  }
};

void define(py::module_& m) {
  py::class_<Launchable>(m, "DeformConv2d")
      .def(py::init<const Stream&, const DeviceArray&, const DeviceArray&, const DeviceArray&,
                    const OptionalArray&, const OptionalArray&, Pair, Pair, Pair, bool>(),
           py::arg("stream"), py::arg("input"), py::arg("offset"), py::arg("weight"), py::arg("bias"),
           py::arg("mask"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
           py::arg("channels_last"))
      .def_property_readonly("output_shape", &Launchable::output_shape)
      .def_property_readonly("workspace_bytes", &Launchable::workspace_bytes)
      .def("run", &Launchable::run, py::arg("workspace"), py::arg("output"));
}

}  // namespace pyvision::cuda::deform_conv2d_bind

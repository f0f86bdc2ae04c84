// SPDX-License-Identifier: Apache-2.0
#include "multi_scale_deformable_attention.cuh"

#include "common/bind.h"

namespace pyvision::cuda::multi_scale_deformable_attention_bind {

struct Launchable {
  std::string op;
  Stream stream;
  AttentionProblem p;

  Launchable(const Stream& stream, const std::string& op_name, const DeviceArray& value,
             const DeviceArray& shapes, const DeviceArray& locations, const DeviceArray& weights)
      : op(op_name), stream(stream) {
    const char* const op = op_name.c_str();
    p.dtype = checked_float_type(value, op, "value");
    p.value = checked_data(value, op, "value", stream, p.dtype, {-1, -1, -1, -1});
    const auto& v = value.tensor.shape;
    p.n = v[0], p.pixels = v[1], p.heads = v[2], p.channels = v[3];
    p.shapes =
        static_cast<const int64_t*>(checked_data(shapes, op, "spatial_shapes", stream, DType::kI64, {-1, 2}));
    p.levels = shapes.tensor.shape[0];
    p.locations = checked_data(locations, op, "sampling_locations", stream, p.dtype,
                               {p.n, -1, p.heads, p.levels, -1, 2});
    p.queries = locations.tensor.shape[1], p.points = locations.tensor.shape[4];
    p.weights = checked_data(weights, op, "attention_weights", stream, p.dtype,
                             {p.n, p.queries, p.heads, p.levels, p.points});
    constexpr int64_t kLargest = int64_t{1} << 29;
    check(p.heads < kLargest && p.channels < kLargest && p.levels < kLargest && p.points < kLargest, op,
          "expected extents below 2^29 on CUDA, got ", shape_text(value.tensor));
    const int64_t extents[] = {p.n, p.queries, p.heads, p.levels, p.points};
    check(checked_numel(op, extents, 5) <= INT32_MAX, op, "expected fewer than 2^31 samples on CUDA");
  }

  std::vector<int64_t> output_shape() const { return {p.n, p.queries, p.heads * p.channels}; }
  size_t workspace_bytes() const { return 0; }
  void run(const DeviceArray&, const DeviceArray& output) const {
    multi_scale_deformable_attention(
        op.c_str(), stream, p, checked_data(output, op.c_str(), "output", stream, p.dtype, output_shape()));
  }

  size_t backward_workspace_bytes() const {
    return attention_backward_workspace_bytes(op.c_str(), stream, p);
  }
  void backward(const DeviceArray& grad_output, const DeviceArray& workspace, const DeviceArray& grad_value,
                const DeviceArray& grad_locations, const DeviceArray& grad_weights) const {
    const char* const op = this->op.c_str();
    AttentionGradients grad;
    grad.output = checked_data(grad_output, op, "grad_output", stream, p.dtype, output_shape());
    grad.value =
        checked_data(grad_value, op, "grad_value", stream, p.dtype, {p.n, p.pixels, p.heads, p.channels});
    grad.locations = checked_data(grad_locations, op, "grad_locations", stream, p.dtype,
                                  {p.n, p.queries, p.heads, p.levels, p.points, 2});
    grad.weights = checked_data(grad_weights, op, "grad_weights", stream, p.dtype,
                                {p.n, p.queries, p.heads, p.levels, p.points});
    multi_scale_deformable_attention_backward(
        op, stream, p, grad, workspace_data(workspace, op, stream, backward_workspace_bytes()));
  }
};

void define(py::module_& m) {
  py::class_<Launchable>(m, "MultiScaleDeformableAttention")
      .def(py::init<const Stream&, const std::string&, const DeviceArray&, const DeviceArray&,
                    const DeviceArray&, const DeviceArray&>(),
           py::arg("stream"), py::arg("op"), py::arg("value"), py::arg("spatial_shapes"),
           py::arg("sampling_locations"), py::arg("attention_weights"))
      .def_property_readonly("output_shape", &Launchable::output_shape)
      .def_property_readonly("workspace_bytes", &Launchable::workspace_bytes)
      .def("run", &Launchable::run, py::arg("workspace"), py::arg("output"))
      .def_property_readonly("backward_workspace_bytes", &Launchable::backward_workspace_bytes)
      .def("backward", &Launchable::backward, py::arg("grad_output"), py::arg("workspace"),
           py::arg("grad_value"), py::arg("grad_locations"), py::arg("grad_weights"));
}

}  // namespace pyvision::cuda::multi_scale_deformable_attention_bind

// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "pixel_shuffle.cuh"

namespace pyvision::cuda::pixel_shuffle_bind {

PixelShuffle job_of(bool to_fine, const DeviceArray& input, int64_t factor, bool planar) {
  const char* const op = to_fine ? "pixel_shuffle" : "pixel_unshuffle";
  const Tensor& x = input.tensor;
  check(x.rank == 4, op, "expected input with 4 dimensions, got ", x.rank);
  return pixel_shuffle_params(op, {x.shape[0], x.shape[1], x.shape[2], x.shape[3]}, factor, planar, to_fine);
}

std::vector<int64_t> shape(bool to_fine, const DeviceArray& input, int64_t factor, bool planar) {
  const PixelShuffle job = job_of(to_fine, input, factor, planar);
  return to_fine ? job.fine_shape() : job.coarse_shape();
}

void run(bool to_fine, const Stream& stream, const DeviceArray& input, int64_t factor, bool planar,
         const DeviceArray& output) {
  const char* const op = to_fine ? "pixel_shuffle" : "pixel_unshuffle";
  const DType dtype = input.tensor.dtype;
  const PixelShuffle job = job_of(to_fine, input, factor, planar);
  const void* const from =
      checked_data(input, op, "input", stream, dtype, to_fine ? job.coarse_shape() : job.fine_shape());
  void* const to =
      checked_data(output, op, "output", stream, dtype, to_fine ? job.fine_shape() : job.coarse_shape());
  pixel_shuffle(op, stream, job, to_fine, item_size(dtype), from, to);
}

void define(py::module_& m) {
  m.def("pixel_shuffle_shape", &shape, py::arg("to_fine"), py::arg("input"), py::arg("factor"),
        py::arg("nchw"), "of the result");
  m.def("pixel_shuffle", &run, py::arg("to_fine"), py::arg("stream"), py::arg("input"), py::arg("factor"),
        py::arg("nchw"), py::arg("output"));
}

}  // namespace pyvision::cuda::pixel_shuffle_bind

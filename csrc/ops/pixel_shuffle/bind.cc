// SPDX-License-Identifier: Apache-2.0
#include "ops/pixel_shuffle/pixel_shuffle.h"

#include "core/bind.h"

namespace pyvision::pixel_shuffle_bind {

// The result of `run`, of the map's dtype.
template <class Run>
py::array moved(const char* op, const py::array& input, int64_t factor, bool planar, bool to_fine, Run run) {
  check(input.ndim() == 4, op, "expected input with 4 dimensions, got ", input.ndim());
  check((input.flags() & py::array::c_style) != 0, op, "expected input to be C-contiguous");
  check(input.itemsize() == 1 || input.itemsize() == 2 || input.itemsize() == 4 || input.itemsize() == 8, op,
        "expected input of items of 1, 2, 4 or 8 bytes, got ", input.itemsize());
  const PixelShuffle job = pixel_shuffle_params(
      op, {input.shape(0), input.shape(1), input.shape(2), input.shape(3)}, factor, planar, to_fine);
  const std::vector<int64_t> shape = to_fine ? job.fine_shape() : job.coarse_shape();
  checked_numel(op, shape.data(), 4, input.itemsize());
  py::array y(input.dtype(), std::vector<py::ssize_t>(shape.begin(), shape.end()));
  void* const out = y.mutable_data();
  const void* const in = input.data();
  const int64_t size = input.itemsize();
  {
    py::gil_scoped_release release;
    run(job, size, in, out);
  }
  return y;
}

py::array shuffle(const py::array& input, int64_t factor, bool planar) {
  return moved("pixel_shuffle", input, factor, planar, true, pixel_shuffle);
}

py::array unshuffle(const py::array& input, int64_t factor, bool planar) {
  return moved("pixel_unshuffle", input, factor, planar, false, pixel_unshuffle);
}

void define(py::module_& m) {
  m.def("pixel_shuffle", &shuffle, py::arg("input"), py::arg("factor"), py::arg("nchw"));
  m.def("pixel_unshuffle", &unshuffle, py::arg("input"), py::arg("factor"), py::arg("nchw"));
}

}  // namespace pyvision::pixel_shuffle_bind

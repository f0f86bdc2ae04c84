// SPDX-License-Identifier: Apache-2.0
#include "ops/pixel_shuffle/pixel_shuffle.h"

#include "core/bind.h"

namespace pyvision::pixel_shuffle_bind {

// A dense map's extents, in whichever layout.
struct Map {
  int64_t n, c, h, w;
};
Map map_of(const char* op, const py::array& input, bool planar, int64_t factor) {
  check(input.ndim() == 4, op, "expected input with 4 dimensions, got ", input.ndim());
  check((input.flags() & py::array::c_style) != 0, op, "expected input to be C-contiguous");
  check(input.itemsize() == 1 || input.itemsize() == 2 || input.itemsize() == 4 || input.itemsize() == 8, op,
        "expected input of items of 1, 2, 4 or 8 bytes, got ", input.itemsize());
  check(factor >= 1 && factor < (int64_t{1} << 15), op, "expected a factor in [1, 2^15), got ", factor);
  const auto extent = [&](int axis) { return static_cast<int64_t>(input.shape(axis)); };
  if (planar) return {extent(0), extent(1), extent(2), extent(3)};
  return {extent(0), extent(3), extent(1), extent(2)};
}

py::array result_of(const char* op, const py::array& input, const Map& map, bool planar) {
  const std::vector<int64_t> shape = planar ? std::vector<int64_t>{map.n, map.c, map.h, map.w}
                                            : std::vector<int64_t>{map.n, map.h, map.w, map.c};
  checked_numel(op, shape.data(), 4, static_cast<size_t>(input.itemsize()));
  return py::array(input.dtype(), std::vector<py::ssize_t>(shape.begin(), shape.end()));
}

py::array shuffle(const py::array& input, int64_t factor, bool planar) {
  constexpr const char* kOp = "pixel_shuffle";
  const Map x = map_of(kOp, input, planar, factor);
  check(x.c % (factor * factor) == 0, kOp,
        "expected input with a multiple of upscale_factor^2 = ", factor * factor, " channels, got ", x.c);
  const PixelShuffle job = {x.n, x.c / (factor * factor), x.h, x.w, factor, planar};
  py::array y = result_of(kOp, input, {x.n, job.channels, x.h * factor, x.w * factor}, planar);
  void* const out = y.mutable_data();
  const void* const in = input.data();
  const int64_t size = input.itemsize();
  {
    py::gil_scoped_release release;
    pixel_shuffle(job, size, in, out);
  }
  return y;
}

py::array unshuffle(const py::array& input, int64_t factor, bool planar) {
  constexpr const char* kOp = "pixel_unshuffle";
  const Map x = map_of(kOp, input, planar, factor);
  check(x.h % factor == 0 && x.w % factor == 0, kOp,
        "expected input of extents that are multiples of downscale_factor ", factor, ", got ", x.h, " x ",
        x.w);
  const PixelShuffle job = {x.n, x.c, x.h / factor, x.w / factor, factor, planar};
  py::array y = result_of(kOp, input, {x.n, x.c * factor * factor, job.h, job.w}, planar);
  void* const out = y.mutable_data();
  const void* const in = input.data();
  const int64_t size = input.itemsize();
  {
    py::gil_scoped_release release;
    pixel_unshuffle(job, size, in, out);
  }
  return y;
}

void define(py::module_& m) {
  m.def("pixel_shuffle", &shuffle, py::arg("input"), py::arg("factor"), py::arg("nchw"));
  m.def("pixel_unshuffle", &unshuffle, py::arg("input"), py::arg("factor"), py::arg("nchw"));
}

}  // namespace pyvision::pixel_shuffle_bind

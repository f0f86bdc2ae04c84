// SPDX-License-Identifier: Apache-2.0
#include "ops/pixel_shuffle/pixel_shuffle.h"

#include <algorithm>

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

// The result of `run`, of the map's dtype. It has as many elements as the input, but an empty one's extents
// may be beyond any integer.
template <class Run>
py::array moved(const char* op, const py::array& input, const PixelShuffle& job, bool to_fine, Run run) {
  const int64_t area = job.factor * job.factor, longest = std::max({job.h, job.w, job.channels});
  check(longest < (int64_t{1} << 62) / area, op, "expected an output whose extents fit an integer, got ",
        job.h, " x ", job.w, " pixels of ", job.channels, " channels, factor ", job.factor);
  const int64_t c = to_fine ? job.channels : job.channels * area, h = to_fine ? job.h * job.factor : job.h,
                w = to_fine ? job.w * job.factor : job.w;
  const std::vector<int64_t> shape =
      job.planar ? std::vector<int64_t>{job.n, c, h, w} : std::vector<int64_t>{job.n, h, w, c};
  checked_numel(op, shape.data(), 4, static_cast<size_t>(input.itemsize()));
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
  constexpr const char* kOp = "pixel_shuffle";
  const Map x = map_of(kOp, input, planar, factor);
  check(x.c % (factor * factor) == 0, kOp,
        "expected input with a multiple of upscale_factor^2 = ", factor * factor, " channels, got ", x.c);
  return moved(kOp, input, {x.n, x.c / (factor * factor), x.h, x.w, factor, planar}, true, pixel_shuffle);
}

py::array unshuffle(const py::array& input, int64_t factor, bool planar) {
  constexpr const char* kOp = "pixel_unshuffle";
  const Map x = map_of(kOp, input, planar, factor);
  check(x.h % factor == 0 && x.w % factor == 0, kOp,
        "expected input of extents that are multiples of downscale_factor ", factor, ", got ", x.h, " x ",
        x.w);
  return moved(kOp, input, {x.n, x.c, x.h / factor, x.w / factor, factor, planar}, false, pixel_unshuffle);
}

void define(py::module_& m) {
  m.def("pixel_shuffle", &shuffle, py::arg("input"), py::arg("factor"), py::arg("nchw"));
  m.def("pixel_unshuffle", &unshuffle, py::arg("input"), py::arg("factor"), py::arg("nchw"));
}

}  // namespace pyvision::pixel_shuffle_bind

// SPDX-License-Identifier: Apache-2.0
#include "ops/roi_pool/roi_pool.h"

#include "roi/bind.h"

namespace pyvision::roi_pool_bind {

constexpr const char* kOp = "roi_pool";
constexpr const char* kBackward = "roi_pool_backward";

template <class Map>
void check_pixels(const char* op, const RoiMaps<Map>& maps) {
  const int64_t pixels = maps.levels[0].h * maps.levels[0].w;
  check(pixels <= INT32_MAX, op, "expected input of fewer than 2^31 pixels, got ", pixels);
}

template <class T>
py::tuple forward(const py::array& input, const py::array& boxes, const RoiSize& output_size, double scale,
                  bool planar) {
  const RoiMapsArgument<const T> maps(kOp, std::vector<py::array>{input}, {scale}, planar);
  check_pixels(kOp, maps.maps());
  const RoiGrid grid = roi_grid(kOp, output_size, true);
  const RoiBoxes<T> regions = roi_boxes<T>(kOp, boxes, 5, maps.maps().n);
  const auto shape = roi_output_shape(regions.count, maps.maps().channels, grid, planar);
  auto output = empty<T>(kOp, shape);
  auto argmax = empty<int32_t>(kOp, shape);
  {
    T* const data = output.mutable_data();
    int32_t* const indices = argmax.mutable_data();
    py::gil_scoped_release release;
    if (output.size() > 0) roi_pool<T>(grid, maps.maps(), regions, data, indices);
  }
  return py::make_tuple(output, argmax);
}

template <class T>
py::array backward(const py::array& grad_output, const RoiShape& shape, const py::array& boxes,
                   const py::array& argmax, bool planar) {
  RoiMapsArgument<T> maps(kBackward, std::vector<RoiShape>{shape}, {1.0}, planar);
  check_pixels(kBackward, maps.maps());
  const RoiBoxes<T> regions = roi_boxes<T>(kBackward, boxes, 5, maps.maps().n);
  const Tensor g = dense_view<const T>(grad_output, kBackward, "grad_output", 4);
  const RoiGrid grid = {g.shape[planar ? 2 : 1], g.shape[planar ? 3 : 2], true};
  const auto expected = roi_output_shape(regions.count, maps.maps().channels, grid, planar);
  const T* const grad = roi_gradient<T>(kBackward, "grad_output", grad_output, expected);
  const int32_t* const indices = roi_gradient<int32_t>(kBackward, "argmax", argmax, expected);
  const int64_t pixels = maps.level().h * maps.level().w;
  for (int64_t i = 0; i < g.numel(); ++i)
    check(indices[i] >= -1 && indices[i] < pixels, kBackward, "expected argmax in [-1, ", pixels, "), got ",
          indices[i]);
  const py::array result = maps.allocate(kBackward)[0];
  {
    py::gil_scoped_release release;
    roi_pool_backward<T>(grid, maps.maps(), regions, grad, indices);
  }
  return result;
}

void define(py::module_& m) {
  define_roi_pooling(m, kOp, forward<float>, forward<double>);
  m.def(
      kBackward,
      [](const py::array& grad_output, const RoiShape& shape, const py::array& boxes, const py::array& argmax,
         bool planar) {
        const auto run = is_f64(grad_output) ? backward<double> : backward<float>;
        return run(grad_output, shape, boxes, argmax, planar);
      },
      py::arg("grad_output"), py::arg("input_shape"), py::arg("boxes"), py::arg("argmax"), py::arg("planar"));
}

}  // namespace pyvision::roi_pool_bind

// SPDX-License-Identifier: Apache-2.0
#include "ops/prroi_pool/prroi_pool.h"

#include "roi/bind.h"

namespace pyvision::prroi_pool_bind {

constexpr const char* kOp = "prroi_pool";
constexpr const char* kBackward = "prroi_pool_backward";

template <class T>
py::array forward(const py::array& input, const py::array& boxes, const RoiSize& output_size, double scale,
                  bool planar) {
  return roi_forward<T>(
      kOp, input, boxes, output_size, scale, planar,
      [](const RoiMaps<const T>& maps, const RoiGrid&) { return maps.channels; },
      [](const RoiGrid& grid, const auto& maps, const auto& regions, T* out) {
        prroi_pool<T>(grid, maps, regions, out);
      });
}

template <class T>
py::tuple backward(const py::array& grad_output, const py::array& input, const py::array& boxes,
                   double scale) {
  const RoiMapsArgument<const T> maps(kBackward, std::vector<py::array>{input}, {scale}, false);
  const RoiShape shape = {maps.maps().n, maps.level().h, maps.level().w, maps.maps().channels};
  RoiMapsArgument<T> gradients(kBackward, std::vector<RoiShape>{shape}, {scale}, false);
  const RoiBoxes<T> regions = roi_boxes<T>(kBackward, boxes, 5, maps.maps().n);
  const Tensor g = dense_view<const T>(grad_output, kBackward, "grad_output", 4);
  const RoiGrid grid = roi_grid(kBackward, {g.shape[1], g.shape[2]}, true, "grad_output");
  const T* const grad = roi_gradient<T>(kBackward, "grad_output", grad_output,
                                        roi_output_shape(regions.count, shape[3], grid, false));
  const py::array grad_input = gradients.allocate(kBackward)[0];
  auto grad_boxes = empty<T>(kBackward, {regions.count, 5});
  {
    T* const data = grad_boxes.mutable_data();
    py::gil_scoped_release release;
    prroi_pool_backward<T>(grid, maps.maps(), regions, grad, gradients.maps(), data);
  }
  return py::make_tuple(grad_input, grad_boxes);
}

void define(py::module_& m) {
  define_roi_pooling(m, kOp, forward<float>, forward<double>);
  m.def(
      kBackward,
      [](const py::array& grad_output, const py::array& input, const py::array& boxes, double scale) {
        const auto run = is_f64(input) ? backward<double> : backward<float>;
        return run(grad_output, input, boxes, scale);
      },
      py::arg("grad_output"), py::arg("input"), py::arg("boxes"), py::arg("spatial_scale"));
}

}  // namespace pyvision::prroi_pool_bind

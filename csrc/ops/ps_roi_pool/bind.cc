// SPDX-License-Identifier: Apache-2.0
#include "ops/ps_roi_pool/ps_roi_pool.h"

#include "roi/bind.h"

namespace pyvision::ps_roi_pool_bind {

constexpr const char* kOp = "ps_roi_pool";
constexpr const char* kBackward = "ps_roi_pool_backward";

template <class T>
py::array forward(const py::array& input, const py::array& boxes, const RoiSize& output_size, double scale,
                  bool planar) {
  return own_channels_forward<T>(kOp, input, boxes, output_size, scale, planar,
                                 [](const RoiGrid& grid, const auto& maps, const auto& regions, T* out) {
                                   ps_roi_pool<T>(grid, maps, regions, out);
                                 });
}

template <class T>
py::array backward(const py::array& grad_output, const RoiShape& shape, const py::array& boxes, double scale,
                   bool planar) {
  return own_channels_backward<T>(kBackward, grad_output, shape, boxes, scale, planar,
                                  [](const RoiGrid& grid, const auto& maps, const auto& regions,
                                     const T* grad) { ps_roi_pool_backward<T>(grid, maps, regions, grad); });
}

void define(py::module_& m) {
  define_roi_pooling(m, kOp, forward<float>, forward<double>);
  m.def(
      kBackward,
      [](const py::array& grad_output, const RoiShape& shape, const py::array& boxes, double scale,
         bool planar) {
        const auto run = is_f64(grad_output) ? backward<double> : backward<float>;
        return run(grad_output, shape, boxes, scale, planar);
      },
      py::arg("grad_output"), py::arg("input_shape"), py::arg("boxes"), py::arg("spatial_scale"),
      py::arg("planar"));
}

}  // namespace pyvision::ps_roi_pool_bind

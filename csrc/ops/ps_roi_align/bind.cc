// SPDX-License-Identifier: Apache-2.0
#include "roi/bind.h"
#include "ops/ps_roi_align/ps_roi_align.h"

namespace pyvision::ps_roi_align_bind {

constexpr const char* kOp = "ps_roi_align";
constexpr const char* kBackward = "ps_roi_align_backward";

template <class T>
py::array forward(const py::array& input, const py::array& boxes, const RoiSize& output_size, double scale,
                  int64_t sampling_ratio, bool planar) {
  checked_sampling_ratio(kOp, sampling_ratio);
  return own_channels_forward<T>(kOp, input, boxes, output_size, scale, planar,
                                 [&](const RoiGrid& grid, const auto& maps, const auto& regions, T* out) {
                                   ps_roi_align<T>(grid, sampling_ratio, maps, regions, out);
                                 });
}

template <class T>
py::array backward(const py::array& grad_output, const RoiShape& shape, const py::array& boxes, double scale,
                   int64_t sampling_ratio, bool planar) {
  checked_sampling_ratio(kBackward, sampling_ratio);
  return own_channels_backward<T>(
      kBackward, grad_output, shape, boxes, scale, planar,
      [&](const RoiGrid& grid, const auto& maps, const auto& regions, const T* grad) {
        ps_roi_align_backward<T>(grid, sampling_ratio, maps, regions, grad);
      });
}

void define(py::module_& m) {
  m.def(
      kOp,
      [](const py::array& input, const py::array& boxes, const RoiSize& output_size, double scale,
         int64_t sampling_ratio, bool planar) {
        const auto run = is_f64(input) ? forward<double> : forward<float>;
        return run(input, boxes, output_size, scale, sampling_ratio, planar);
      },
      py::arg("input"), py::arg("boxes"), py::arg("output_size"), py::arg("spatial_scale"),
      py::arg("sampling_ratio"), py::arg("planar"));
  m.def(
      kBackward,
      [](const py::array& grad_output, const RoiShape& shape, const py::array& boxes, double scale,
         int64_t sampling_ratio, bool planar) {
        const auto run = is_f64(grad_output) ? backward<double> : backward<float>;
        return run(grad_output, shape, boxes, scale, sampling_ratio, planar);
      },
      py::arg("grad_output"), py::arg("input_shape"), py::arg("boxes"), py::arg("spatial_scale"),
      py::arg("sampling_ratio"), py::arg("planar"));
}

}  // namespace pyvision::ps_roi_align_bind

// SPDX-License-Identifier: Apache-2.0
#include "ops/deform_roi_pool/deform_roi_pool.h"

#include "roi/bind.h"

namespace pyvision::deform_roi_pool_bind {

constexpr const char* kOp = "deform_roi_pool";
constexpr const char* kBackward = "deform_roi_pool_backward";
using OptionalArray = std::optional<py::array>;

template <class T>
DeformRoiPool<T> parse(const char* op, int64_t count, const RoiSize& output_size, int64_t sampling_ratio,
                       double gamma, const OptionalArray& offset, const OptionalArray& mask,
                       const char* size_name = "output_size") {
  check(std::isfinite(gamma), op, "expected gamma to be finite, got ", gamma);
  const RoiGrid grid = roi_grid(op, output_size, false, size_name);
  return {grid, checked_sampling_ratio(op, sampling_ratio), static_cast<T>(gamma),
          offset ? roi_gradient<T>(op, "offset", *offset, {count, 2, grid.h, grid.w}) : nullptr,
          mask ? roi_gradient<T>(op, "mask", *mask, {count, 1, grid.h, grid.w}) : nullptr};
}

template <class T>
py::array forward(const py::array& input, const py::array& boxes, const OptionalArray& offset,
                  const OptionalArray& mask, const RoiSize& output_size, double scale, int64_t sampling_ratio,
                  double gamma, bool planar) {
  const RoiMapsArgument<const T> maps(kOp, std::vector<py::array>{input}, {scale}, planar);
  const RoiBoxes<T> regions = roi_boxes<T>(kOp, boxes, 5, maps.maps().n);
  const auto job = parse<T>(kOp, regions.count, output_size, sampling_ratio, gamma, offset, mask);
  auto output = empty<T>(kOp, roi_output_shape(regions.count, maps.maps().channels, job.grid, planar));
  T* const data = output.mutable_data();
  {
    py::gil_scoped_release release;
    if (output.size() > 0) deform_roi_pool<T>(job, maps.maps(), regions, data);
  }
  return output;
}

template <class T>
py::tuple backward(const py::array& grad_output, const py::array& input, const py::array& boxes,
                   const OptionalArray& offset, const OptionalArray& mask, double scale,
                   int64_t sampling_ratio, double gamma) {
  const RoiMapsArgument<const T> maps(kBackward, std::vector<py::array>{input}, {scale}, false);
  const RoiShape shape = {maps.maps().n, maps.level().h, maps.level().w, maps.maps().channels};
  RoiMapsArgument<T> gradients(kBackward, std::vector<RoiShape>{shape}, {scale}, false);
  const RoiBoxes<T> regions = roi_boxes<T>(kBackward, boxes, 5, maps.maps().n);
  const Tensor g = dense_view<const T>(grad_output, kBackward, "grad_output", 4);
  const auto job = parse<T>(kBackward, regions.count, {g.shape[1], g.shape[2]}, sampling_ratio, gamma, offset,
                            mask, "grad_output");
  const T* const grad = roi_gradient<T>(kBackward, "grad_output", grad_output,
                                        roi_output_shape(regions.count, shape[3], job.grid, false));
  const py::array grad_input = gradients.allocate(kBackward)[0];
  py::object grad_offset = py::none(), grad_mask = py::none();
  T *offset_data = nullptr, *mask_data = nullptr;
  if (offset) {
    auto array = empty<T>(kBackward, {regions.count, 2, job.grid.h, job.grid.w});
    offset_data = array.mutable_data();
    grad_offset = std::move(array);
  }
  if (mask) {
    auto array = empty<T>(kBackward, {regions.count, 1, job.grid.h, job.grid.w});
    mask_data = array.mutable_data();
    grad_mask = std::move(array);
  }
  {
    py::gil_scoped_release release;
    deform_roi_pool_backward<T>(job, maps.maps(), regions, grad, gradients.maps(), offset_data, mask_data);
  }
  return py::make_tuple(grad_input, grad_offset, grad_mask);
}

void define(py::module_& m) {
  m.def(
      kOp,
      [](const py::array& input, const py::array& boxes, const OptionalArray& offset,
         const OptionalArray& mask, const RoiSize& output_size, double scale, int64_t sampling_ratio,
         double gamma, bool planar) {
        const auto run = is_f64(input) ? forward<double> : forward<float>;
        return run(input, boxes, offset, mask, output_size, scale, sampling_ratio, gamma, planar);
      },
      py::arg("input"), py::arg("boxes"), py::arg("offset"), py::arg("mask"), py::arg("output_size"),
      py::arg("spatial_scale"), py::arg("sampling_ratio"), py::arg("gamma"), py::arg("planar"));
  m.def(
      kBackward,
      [](const py::array& grad_output, const py::array& input, const py::array& boxes,
         const OptionalArray& offset, const OptionalArray& mask, double scale, int64_t sampling_ratio,
         double gamma) {
        const auto run = is_f64(input) ? backward<double> : backward<float>;
        return run(grad_output, input, boxes, offset, mask, scale, sampling_ratio, gamma);
      },
      py::arg("grad_output"), py::arg("input"), py::arg("boxes"), py::arg("offset"), py::arg("mask"),
      py::arg("spatial_scale"), py::arg("sampling_ratio"), py::arg("gamma"));
}

}  // namespace pyvision::deform_roi_pool_bind

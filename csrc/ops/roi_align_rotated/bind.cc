// SPDX-License-Identifier: Apache-2.0
#include "ops/roi_align_rotated/roi_align_rotated.h"

#include "roi/bind.h"

namespace pyvision::roi_align_rotated_bind {

constexpr const char* kOp = "roi_align_rotated";
constexpr const char* kBackward = "roi_align_rotated_backward";

// What both directions check beyond their own maps.
template <class T, class Map>
RoiBoxes<T> checked_boxes(const char* op, const RoiAlignRotatedOptions& options, const RoiMaps<Map>& maps,
                          const py::array& boxes, const char* maps_name) {
  const RoiLevel<Map>& level = maps.levels[0];
  check(level.h <= kMaxSampledExtent && level.w <= kMaxSampledExtent, op, "expected ", maps_name,
        " of a height and width of at most ", kMaxSampledExtent, ", got ", level.h, " x ", level.w);
  const RoiBoxes<T> result = roi_boxes<T>(op, boxes, 6, maps.n);
  const int64_t samples = most_rotated_samples(options, level.scale, result);
  check(samples <= kMaxRotatedSamples, op, "expected boxes and sampling_ratio that take at most ",
        kMaxRotatedSamples, " samples a bin, got ", samples);
  return result;
}

template <class T>
py::array forward(const py::array& input, const py::array& boxes, const RoiSize& output_size, double scale,
                  int64_t sampling_ratio, bool aligned) {
  const RoiMapsArgument<const T> maps(kOp, std::vector<py::array>{input}, {scale}, false);
  const RoiAlignRotatedOptions options = {roi_grid(kOp, output_size, true),
                                          checked_sampling_ratio(kOp, sampling_ratio), aligned};
  const RoiBoxes<T> regions = checked_boxes<T>(kOp, options, maps.maps(), boxes, "input");
  auto output = empty<T>(kOp, roi_output_shape(regions.count, maps.maps().channels, options.grid, false));
  T* const data = output.mutable_data();
  {
    py::gil_scoped_release release;
    if (output.size() > 0) roi_align_rotated<T>(options, maps.maps(), regions, data);
  }
  return output;
}

template <class T>
py::array backward(const py::array& grad_output, const RoiShape& shape, const py::array& boxes, double scale,
                   int64_t sampling_ratio, bool aligned) {
  RoiMapsArgument<T> maps(kBackward, std::vector<RoiShape>{shape}, {scale}, false);
  const Tensor g = dense_view<const T>(grad_output, kBackward, "grad_output", 4);
  const RoiAlignRotatedOptions options = {roi_grid(kBackward, {g.shape[1], g.shape[2]}, true, "grad_output"),
                                          checked_sampling_ratio(kBackward, sampling_ratio), aligned};
  const RoiBoxes<T> regions = checked_boxes<T>(kBackward, options, maps.maps(), boxes, "input_shape");
  const T* const grad = roi_gradient<T>(kBackward, "grad_output", grad_output,
                                        roi_output_shape(regions.count, shape[3], options.grid, false));
  const py::array result = maps.allocate(kBackward)[0];
  {
    py::gil_scoped_release release;
    roi_align_rotated_backward<T>(options, maps.maps(), regions, grad);
  }
  return result;
}

void define(py::module_& m) {
  m.def(
      kOp,
      [](const py::array& input, const py::array& boxes, const RoiSize& output_size, double scale,
         int64_t sampling_ratio, bool aligned) {
        const auto run = is_f64(input) ? forward<double> : forward<float>;
        return run(input, boxes, output_size, scale, sampling_ratio, aligned);
      },
      py::arg("input"), py::arg("boxes"), py::arg("output_size"), py::arg("spatial_scale"),
      py::arg("sampling_ratio"), py::arg("aligned"));
  m.def(
      kBackward,
      [](const py::array& grad_output, const RoiShape& shape, const py::array& boxes, double scale,
         int64_t sampling_ratio, bool aligned) {
        const auto run = is_f64(grad_output) ? backward<double> : backward<float>;
        return run(grad_output, shape, boxes, scale, sampling_ratio, aligned);
      },
      py::arg("grad_output"), py::arg("input_shape"), py::arg("boxes"), py::arg("spatial_scale"),
      py::arg("sampling_ratio"), py::arg("aligned"));
}

}  // namespace pyvision::roi_align_rotated_bind

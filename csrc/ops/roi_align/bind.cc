// SPDX-License-Identifier: Apache-2.0
#include "roi/bind.h"
#include "ops/roi_align/roi_align.h"

namespace pyvision::roi_align_bind {

// size_name: the argument that gives output_size
RoiAlignOptions parse_options(const char* op, const RoiSize& output_size, const char* size_name,
                              int64_t sampling_ratio, bool aligned, bool maximum, bool planar) {
  check(!(maximum && planar), op, "expected maps of layout NHWC for maxima");
  return {roi_grid(op, output_size, true, size_name), checked_sampling_ratio(op, sampling_ratio), aligned,
          maximum};
}

template <class T, class Map>
RoiBoxes<T> boxes_of(const char* op, const py::array& boxes, const std::optional<py::array>& levels,
                     const RoiMaps<Map>& maps) {
  RoiBoxes<T> result = roi_boxes<T>(op, boxes, 5, maps.n);
  if (levels) {
    const Tensor t = dense_view<const int64_t>(*levels, op, "levels", 1);
    check(t.shape[0] == result.count, op, "expected levels of shape (", result.count, ",), got ",
          shape_text(t));
    result.levels = t.as<const int64_t>();
    for (int64_t k = 0; k < result.count; ++k)
      check(result.levels[k] >= 0 && result.levels[k] < maps.level_count, op, "expected levels in [0, ",
            maps.level_count, "), got ", result.levels[k]);
  }
  return result;
}

template <class T>
py::array forward(const char* op, const std::vector<py::array>& inputs, const py::array& boxes,
                  const std::optional<py::array>& levels, const RoiSize& output_size,
                  const std::vector<double>& scales, int64_t sampling_ratio, bool aligned, bool maximum,
                  bool planar) {
  const RoiMapsArgument<const T> input(op, inputs, scales, planar, levels ? "features" : "input");
  const RoiAlignOptions options =
      parse_options(op, output_size, "output_size", sampling_ratio, aligned, maximum, planar);
  const RoiBoxes<T> regions = boxes_of<T>(op, boxes, levels, input.maps());
  auto output = empty<T>(op, roi_output_shape(regions.count, input.maps().channels, options.grid, planar));
  T* const data = output.mutable_data();
  {
    py::gil_scoped_release release;
    if (output.size() > 0) roi_align<T>(options, input.maps(), regions, data);
  }
  return output;
}

template <class T>
std::vector<py::array> backward(const char* op, const py::array& grad_output,
                                const std::vector<RoiShape>& shapes, const py::array& boxes,
                                const std::optional<py::array>& levels, const RoiSize& output_size,
                                const std::vector<double>& scales, int64_t sampling_ratio, bool aligned,
                                const std::optional<std::vector<py::array>>& inputs, bool planar) {
  RoiMapsArgument<T> gradients(op, shapes, scales, planar, levels ? "input_shapes" : "input_shape");
  const RoiAlignOptions options =
      parse_options(op, output_size, "grad_output", sampling_ratio, aligned, inputs.has_value(), planar);
  const RoiBoxes<T> regions = boxes_of<T>(op, boxes, levels, gradients.maps());
  const T* const grad =
      roi_gradient<T>(op, "grad_output", grad_output,
                      roi_output_shape(regions.count, gradients.maps().channels, options.grid, planar));
  std::optional<RoiMapsArgument<const T>> input;
  if (inputs) input.emplace(op, *inputs, scales, planar);
  const std::vector<py::array> result = gradients.allocate(op);
  {
    py::gil_scoped_release release;
    roi_align_backward<T>(options, gradients.maps(), regions, grad, input ? &input->maps() : nullptr);
  }
  return result;
}

void define(py::module_& m) {
  m.def(
      "roi_align",
      [](const std::vector<py::array>& inputs, const py::array& boxes, const std::optional<py::array>& levels,
         const RoiSize& output_size, const std::vector<double>& scales, int64_t sampling_ratio, bool aligned,
         bool maximum, bool planar, const std::string& op) {
        const auto run = is_f64(boxes) ? forward<double> : forward<float>;
        return run(op.c_str(), inputs, boxes, levels, output_size, scales, sampling_ratio, aligned, maximum,
                   planar);
      },
      py::arg("inputs"), py::arg("boxes"), py::arg("levels"), py::arg("output_size"),
      py::arg("spatial_scales"), py::arg("sampling_ratio"), py::arg("aligned"), py::arg("maximum"),
      py::arg("planar"), py::arg("op") = "roi_align");
  m.def(
      "roi_align_backward",
      [](const py::array& grad_output, const std::vector<RoiShape>& shapes, const py::array& boxes,
         const std::optional<py::array>& levels, const RoiSize& output_size,
         const std::vector<double>& scales, int64_t sampling_ratio, bool aligned,
         const std::optional<std::vector<py::array>>& inputs, bool planar, const std::string& op) {
        const auto run = is_f64(boxes) ? backward<double> : backward<float>;
        return run(op.c_str(), grad_output, shapes, boxes, levels, output_size, scales, sampling_ratio,
                   aligned, inputs, planar);
      },
      py::arg("grad_output"), py::arg("input_shapes"), py::arg("boxes"), py::arg("levels"),
      py::arg("output_size"), py::arg("spatial_scales"), py::arg("sampling_ratio"), py::arg("aligned"),
      py::arg("inputs"), py::arg("planar"), py::arg("op") = "roi_align_backward");
}

}  // namespace pyvision::roi_align_bind

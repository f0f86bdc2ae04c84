// SPDX-License-Identifier: Apache-2.0
// Python arguments that every op on regions of interest takes, checked.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "core/bind.h"
#include "roi/roi.h"

namespace pyvision {

using RoiSize = std::array<int64_t, 2>;   // output_size: bins down, bins across
using RoiShape = std::array<int64_t, 4>;  // of a map, as its layout has it

// Maps of one layout, with as many images and channels each.
template <class T>
class RoiMapsArgument {
 public:
  // inputs: of T, dense; `name` is what the caller knows them by
  RoiMapsArgument(const char* op, const std::vector<py::array>& inputs, const std::vector<double>& scales,
                  bool planar, const char* name = "input") {
    for (const py::array& input : inputs) {
      const Tensor t = dense_view<T>(input, op, name, 4);
      add(op, name, {t.shape[0], t.shape[1], t.shape[2], t.shape[3]}, t.as<T>(), planar);
    }
    finish(op, name, scales, planar);
  }
  // Gradients of the given shapes, which are there once everything is checked and `allocate` was called.
  RoiMapsArgument(const char* op, const std::vector<RoiShape>& shapes, const std::vector<double>& scales,
                  bool planar, const char* name = "input_shape")
      : shapes_(shapes) {
    for (const RoiShape& shape : shapes) {
      check(*std::min_element(shape.begin(), shape.end()) >= 0, op, "expected ", name,
            " without negative extents, got ", shape_text(shape.data(), 4));
      add(op, name, shape, nullptr, planar);
    }
    finish(op, name, scales, planar);
  }
  std::vector<py::array> allocate(const char* op) {
    std::vector<py::array> arrays;
    for (size_t i = 0; i < shapes_.size(); ++i) {
      auto array = empty<T>(op, {shapes_[i].begin(), shapes_[i].end()});
      levels_[i].data = array.mutable_data();
      arrays.push_back(std::move(array));
    }
    return arrays;
  }
  RoiMapsArgument(const RoiMapsArgument&) = delete;
  RoiMapsArgument& operator=(const RoiMapsArgument&) = delete;

  const RoiMaps<T>& maps() const { return maps_; }
  const RoiLevel<T>& level() const { return levels_[0]; }

 private:
  void add(const char* op, const char* name, const RoiShape& shape, T* data, bool planar) {
    const int64_t channels = shape[planar ? 1 : 3], h = shape[planar ? 2 : 1], w = shape[planar ? 3 : 2];
    check(h > 0 && w > 0 && h < INT32_MAX && w < INT32_MAX, op, "expected ", name,
          " of a height and width in [1, 2^31 - 1), got ", h, " x ", w);
    if (levels_.empty()) maps_.n = shape[0], maps_.channels = channels;
    check(shape[0] == maps_.n && channels == maps_.channels, op, "expected ", name, " with ", maps_.n,
          " images and ", maps_.channels, " channels at every level, got ", shape[0], " and ", channels);
    levels_.push_back({data, h, w, 1});
  }
  void finish(const char* op, const char* name, const std::vector<double>& scales, bool planar) {
    check(!levels_.empty(), op, "expected ", name, " of at least one level, got none");
    check(scales.size() == levels_.size(), op, "expected one of spatial_scales per level of ", name, ", got ",
          scales.size(), " for ", levels_.size());
    for (size_t i = 0; i < scales.size(); ++i) {
      check(std::isfinite(scales[i]) && scales[i] > 0, op,
            "expected spatial_scale to be finite and positive, got ", scales[i]);
      levels_[i].scale = scales[i];
    }
    maps_.levels = levels_.data();
    maps_.level_count = static_cast<int64_t>(levels_.size());
    maps_.planar = planar;
  }

  std::vector<RoiLevel<T>> levels_;
  std::vector<RoiShape> shapes_;
  RoiMaps<T> maps_{};
};

// (K, columns): finite, the first column an image's index.
template <class T>
RoiBoxes<T> roi_boxes(const char* op, const py::array& boxes, int64_t columns, int64_t images) {
  const Tensor t = dense_view<const T>(boxes, op, "boxes", 2);
  check(t.shape[1] == columns, op, "expected boxes of shape (K, ", columns, "), got ", shape_text(t));
  const RoiBoxes<T> result = {t.as<const T>(), t.shape[0], columns, nullptr};
  for (int64_t k = 0; k < result.count; ++k) {
    const T* const box = result[k];
    check(box[0] >= 0 && box[0] < static_cast<T>(images) && box[0] == std::floor(box[0]), op,
          "expected boxes with an image index in [0, ", images, ") in front, got ", box[0], " in row ", k);
    for (int64_t i = 1; i < columns; ++i)
      check(std::isfinite(box[i]), op, "expected boxes with finite coordinates, got ", box[i], " in row ", k);
  }
  return result;
}

// The bins, whose numbers down and across fit in memory. `name`: the argument that has them.
inline RoiGrid roi_grid(const char* op, const RoiSize& size, bool shared, const char* name = "output_size") {
  check(size[0] > 0 && size[1] > 0, op, "expected ", name, " of one or more bins down and across, got ",
        shape_text(size.data(), 2));
  checked_numel(op, size.data(), 2);
  return {size[0], size[1], shared};
}

constexpr int64_t kMaxSamplingRatio = 1024;  // more is a mistake, and would take hours
inline int64_t checked_sampling_ratio(const char* op, int64_t sampling_ratio) {
  check(sampling_ratio <= kMaxSamplingRatio, op, "expected sampling_ratio of at most ", kMaxSamplingRatio,
        ", got ", sampling_ratio);
  return sampling_ratio;
}

// (K, bins h, bins w, channels), or (K, channels, bins h, bins w)
inline std::vector<int64_t> roi_output_shape(int64_t count, int64_t channels, const RoiGrid& grid,
                                             bool planar) {
  if (planar) return {count, channels, grid.h, grid.w};
  return {count, grid.h, grid.w, channels};
}

template <class T>
const T* roi_gradient(const char* op, const char* name, const py::array& array,
                      const std::vector<int64_t>& shape) {
  const Tensor t = dense_view<const T>(array, op, name, static_cast<int>(shape.size()));
  check(std::equal(shape.begin(), shape.end(), t.shape), op, "expected ", name, " of shape ",
        shape_text(shape.data(), t.rank), ", got ", shape_text(t));
  return t.as<const T>();
}

// Ops whose maps have a channel for every bin of every output. The names: of the arguments that have them.
template <class T>
int64_t own_channels(const char* op, const RoiMaps<T>& maps, const RoiGrid& grid, const char* name = "input",
                     const char* bins_name = "output_size") {
  const int64_t channels = maps.channels, w = maps.levels[0].w;
  check(channels % grid.bins() == 0, op, "expected ", name, " with a multiple of ", grid.bins(),
        " channels, the bins of ", bins_name, ", got ", channels);
  // A pixel's place in a row of neighbouring channels has 32 bits.
  check(maps.planar || channels == 0 || w <= INT32_MAX / channels, op, "expected ", name,
        " of fewer than 2^31 values in a row, got ", w, " pixels of ", channels, " channels");
  return channels / grid.bins();
}

// channels_of(maps, grid): those of the output; run(grid, maps, boxes, out)
template <class T, class ChannelsOf, class Run>
py::array roi_forward(const char* op, const py::array& input, const py::array& boxes,
                      const RoiSize& output_size, double scale, bool planar, ChannelsOf channels_of,
                      Run run) {
  const RoiMapsArgument<const T> maps(op, std::vector<py::array>{input}, {scale}, planar);
  const RoiGrid grid = roi_grid(op, output_size, true);
  const int64_t channels = channels_of(maps.maps(), grid);
  const RoiBoxes<T> regions = roi_boxes<T>(op, boxes, 5, maps.maps().n);
  auto output = empty<T>(op, roi_output_shape(regions.count, channels, grid, planar));
  T* const data = output.mutable_data();
  {
    py::gil_scoped_release release;
    if (output.size() > 0) run(grid, maps.maps(), regions, data);
  }
  return output;
}

template <class T, class Run>
py::array own_channels_forward(const char* op, const py::array& input, const py::array& boxes,
                               const RoiSize& output_size, double scale, bool planar, Run run) {
  const auto channels_of = [&](const RoiMaps<const T>& maps, const RoiGrid& grid) {
    return own_channels(op, maps, grid);
  };
  return roi_forward<T>(op, input, boxes, output_size, scale, planar, channels_of, run);
}

// run(grid, maps, boxes, grad)
template <class T, class Run>
py::array own_channels_backward(const char* op, const py::array& grad_output, const RoiShape& shape,
                                const py::array& boxes, double scale, bool planar, Run run) {
  RoiMapsArgument<T> maps(op, std::vector<RoiShape>{shape}, {scale}, planar);
  const RoiBoxes<T> regions = roi_boxes<T>(op, boxes, 5, maps.maps().n);
  const Tensor g = dense_view<const T>(grad_output, op, "grad_output", 4);
  const RoiGrid grid = roi_grid(op, {g.shape[planar ? 2 : 1], g.shape[planar ? 3 : 2]}, true, "grad_output");
  const int64_t channels = own_channels(op, maps.maps(), grid, "input_shape", "grad_output");
  const T* const grad = roi_gradient<T>(op, "grad_output", grad_output,
                                        roi_output_shape(regions.count, channels, grid, planar));
  const py::array result = maps.allocate(op)[0];
  {
    py::gil_scoped_release release;
    run(grid, maps.maps(), regions, grad);
  }
  return result;
}

// A pooling that takes no more than this, of which there is one for each type of maps.
template <class Pooled>
void define_roi_pooling(py::module_& m, const char* op,
                        Pooled (*of_f32)(const py::array&, const py::array&, const RoiSize&, double, bool),
                        Pooled (*of_f64)(const py::array&, const py::array&, const RoiSize&, double, bool)) {
  m.def(
      op,
      [=](const py::array& input, const py::array& boxes, const RoiSize& output_size, double scale,
          bool planar) {
        return (is_f64(input) ? of_f64 : of_f32)(input, boxes, output_size, scale, planar);
      },
      py::arg("input"), py::arg("boxes"), py::arg("output_size"), py::arg("spatial_scale"),
      py::arg("planar"));
}

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/bind.h"
#include "ops/multi_scale_deformable_attention/multi_scale_deformable_attention.h"

namespace pyvision::multi_scale_deformable_attention_bind {

constexpr const char* kOp = "multi_scale_deformable_attention";
constexpr const char* kBackward = "multi_scale_deformable_attention_backward";

template <class T>
struct Operands {
  DeformableAttention<T> job;
  const int64_t* shapes;
  int64_t levels, points;
};

template <class T>
const T* dense(const char* op, const char* name, const py::array& array, const std::vector<int64_t>& shape) {
  const Tensor t = dense_view<const T>(array, op, name, static_cast<int>(shape.size()));
  check(std::equal(shape.begin(), shape.end(), t.shape), op, "expected ", name, " of shape ",
        shape_text(shape.data(), t.rank), ", got ", shape_text(t));
  return t.as<const T>();
}

template <class T>
Operands<T> parse(const char* op, const py::array& value, const py::array& shapes, const py::array& locations,
                  const py::array& weights) {
  Operands<T> x;
  const Tensor v = dense_view<const T>(value, op, "value", 4);
  x.job.n = v.shape[0], x.job.pixels = v.shape[1], x.job.heads = v.shape[2], x.job.channels = v.shape[3];
  x.job.value = v.as<const T>();
  const Tensor s = dense_view<const int64_t>(shapes, op, "spatial_shapes", 2);
  check(s.shape[1] == 2, op, "expected spatial_shapes of shape (levels, 2), got ", shape_text(s));
  x.levels = s.shape[0];
  x.shapes = s.as<const int64_t>();
  int64_t pixels = 0;
  for (int64_t l = 0; l < x.levels; ++l) {
    const int64_t h = x.shapes[2 * l], w = x.shapes[2 * l + 1];
    check(h > 0 && w > 0 && h <= kMaxSampledExtent && w <= kMaxSampledExtent, op,
          "expected spatial_shapes between 1 and ", kMaxSampledExtent, ", got ", h, " x ", w);
    pixels = std::min(pixels + h * w, int64_t{1} << 60);
  }
  check(pixels == x.job.pixels, op, "expected value with as many pixels as spatial_shapes has, ", pixels,
        ", got ", x.job.pixels);
  check(locations.ndim() == 6, op, "expected sampling_locations with 6 dimensions, got ", locations.ndim());
  x.job.queries = locations.shape(1);
  x.points = locations.shape(4);
  const int64_t points = checked_numel(op, std::vector<int64_t>{x.levels, x.points}.data(), 2);
  check(points < (int64_t{1} << 31), op, "expected fewer points in sampling_locations, got ", points);
  x.job.locations = dense<T>(op, "sampling_locations", locations,
                             {x.job.n, x.job.queries, x.job.heads, x.levels, x.points, 2});
  x.job.weights =
      dense<T>(op, "attention_weights", weights, {x.job.n, x.job.queries, x.job.heads, x.levels, x.points});
  return x;
}

template <class T>
py::array forward(const py::array& value, const py::array& shapes, const py::array& locations,
                  const py::array& weights) {
  const Operands<T> x = parse<T>(kOp, value, shapes, locations, weights);
  auto out = empty<T>(kOp, {x.job.n, x.job.queries, x.job.heads * x.job.channels});
  T* const data = out.mutable_data();
  py::gil_scoped_release release;
  if (out.size() > 0) deformable_attention(x.job, x.shapes, x.levels, x.points, data);
  return out;
}

template <class T>
py::tuple backward(const py::array& grad_output, const py::array& value, const py::array& shapes,
                   const py::array& locations, const py::array& weights) {
  const Operands<T> x = parse<T>(kBackward, value, shapes, locations, weights);
  DeformableAttentionGradients<T> grad;
  grad.output =
      dense<T>(kBackward, "grad_output", grad_output, {x.job.n, x.job.queries, x.job.heads * x.job.channels});
  auto grad_value = empty<T>(kBackward, {x.job.n, x.job.pixels, x.job.heads, x.job.channels});
  auto grad_locations = empty<T>(kBackward, {x.job.n, x.job.queries, x.job.heads, x.levels, x.points, 2});
  auto grad_weights = empty<T>(kBackward, {x.job.n, x.job.queries, x.job.heads, x.levels, x.points});
  grad.value = grad_value.mutable_data();
  grad.locations = grad_locations.mutable_data();
  grad.weights = grad_weights.mutable_data();
  {
    py::gil_scoped_release release;
    deformable_attention_backward(x.job, x.shapes, x.levels, x.points, grad);
  }
  return py::make_tuple(grad_value, grad_locations, grad_weights);
}

void define(py::module_& m) {
  m.def(
      kOp,
      [](const py::array& value, const py::array& shapes, const py::array& locations,
         const py::array& weights) {
        const auto run = is_f64(value) ? forward<double> : forward<float>;
        return run(value, shapes, locations, weights);
      },
      py::arg("value"), py::arg("spatial_shapes"), py::arg("sampling_locations"),
      py::arg("attention_weights"));
  m.def(
      kBackward,
      [](const py::array& grad_output, const py::array& value, const py::array& shapes,
         const py::array& locations, const py::array& weights) {
        const auto run = is_f64(value) ? backward<double> : backward<float>;
        return run(grad_output, value, shapes, locations, weights);
      },
      py::arg("grad_output"), py::arg("value"), py::arg("spatial_shapes"), py::arg("sampling_locations"),
      py::arg("attention_weights"));
}

}  // namespace pyvision::multi_scale_deformable_attention_bind

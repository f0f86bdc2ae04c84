// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "ops/elementwise/elementwise.h"

namespace pyvision::elementwise_bind {

std::vector<int64_t> shape_of(const Nhwc<const float>& x) { return {x.n, x.h, x.w, x.c}; }

// Throws unless `x` has a's extents, or 1 in place of n, h or w.
void check_operand(const char* op, const char* name, const Nhwc<const float>& x, const Nhwc<const float>& a) {
  const bool fits = (x.n == a.n || x.n == 1) && (x.h == a.h || x.h == 1) && (x.w == a.w || x.w == 1);
  check(fits && x.c == a.c, op, "expected ", name,
        " of shape (N, H, W, C) = ", shape_text(shape_of(a).data(), 4), " or with 1 for N, H, W, got ",
        shape_text(shape_of(x).data(), 4));
}

py::array bind_activate(const py::array& input, const std::string& activation, float slope,
                        const std::optional<py::array>& out) {
  const ActivationParams f{parse_activation("activate", activation), slope};
  const auto x = nhwc_view<const float>(input, "activate", "input");
  py::array output = output_array<float>("activate", out, shape_of(x));
  const auto y = nhwc_view<float>(output, "activate", "out");
  {
    py::gil_scoped_release release;
    activate(f, x, y);
  }
  return output;
}

using BinaryOp = void (*)(const Nhwc<const float>&, const Nhwc<const float>&, const ActivationParams&,
                          const Nhwc<float>&);

void def_binary(py::module_& m, const char* op, BinaryOp run) {
  m.def(
      op,
      [op, run](const py::array& a, const py::array& b, const std::string& activation, float slope,
                const std::optional<py::array>& out) {
        const ActivationParams f{parse_activation(op, activation), slope};
        const auto u = nhwc_view<const float>(a, op, "a"), v = nhwc_view<const float>(b, op, "b");
        check_operand(op, "b", v, u);
        py::array output = output_array<float>(op, out, shape_of(u));
        const auto y = nhwc_view<float>(output, op, "out");
        {
          py::gil_scoped_release release;
          run(u, v, f, y);
        }
        return output;
      },
      py::arg("a"), py::arg("b"), py::arg("activation") = "none", py::arg("slope") = 0.01f,
      py::arg("out") = py::none());
}

py::array bind_mul_add(const py::array& a, const py::array& b, const py::array& c,
                       const std::string& activation, float slope, const std::optional<py::array>& out) {
  constexpr const char* kOp = "mul_add";
  const ActivationParams f{parse_activation(kOp, activation), slope};
  const auto u = nhwc_view<const float>(a, kOp, "a"), v = nhwc_view<const float>(b, kOp, "b"),
             w = nhwc_view<const float>(c, kOp, "c");
  check_operand(kOp, "b", v, u);
  check_operand(kOp, "c", w, u);
  py::array output = output_array<float>(kOp, out, shape_of(u));
  const auto y = nhwc_view<float>(output, kOp, "out");
  {
    py::gil_scoped_release release;
    mul_add(u, v, w, f, y);
  }
  return output;
}

// An array around one axis as a row of pixels: (outer, axis * inner).
Nhwc<const float> rows_of(const Tensor& t, int64_t dim) {
  int64_t outer = 1, rest = 1;
  for (int i = 0; i < dim; ++i) outer *= t.shape[i];
  for (int i = static_cast<int>(dim); i < t.rank; ++i) rest *= t.shape[i];
  return dense_nhwc<const float>(t.as<const float>(), 1, 1, outer, rest);
}

// The channels [first, first + c) of every pixel.
template <class T>
Nhwc<T> slice(Nhwc<T> x, int64_t first, int64_t c) {
  x.data += first;
  x.c = c;
  return x;
}

Tensor dense_array(const char* op, const py::array& array, int64_t dim) {
  const Tensor t = view<const float>(array, op, "input");
  check(t.contiguous(), op, "expected inputs to be C-contiguous");
  check(dim >= 0 && dim < t.rank, op, "expected dim in [0, ", t.rank, "), got ", dim);
  return t;
}

py::array bind_concat(const std::vector<py::array>& tensors, int64_t dim) {
  constexpr const char* kOp = "concat";
  check(!tensors.empty(), kOp, "expected at least one array, got none");
  const Tensor first = dense_array(kOp, tensors[0], dim);
  std::vector<int64_t> shape(first.shape, first.shape + first.rank);
  shape[dim] = 0;
  std::vector<Nhwc<const float>> parts;
  for (const py::array& array : tensors) {
    const Tensor t = dense_array(kOp, array, dim);
    bool same = t.rank == first.rank;
    for (int i = 0; same && i < t.rank; ++i) same = i == dim || t.shape[i] == first.shape[i];
    check(same, kOp, "expected arrays equal in all but dimension ", dim, ", got ", shape_text(first), " and ",
          shape_text(t));
    shape[dim] += t.shape[dim];
    parts.push_back(rows_of(t, dim));
  }
  auto output = empty<float>(kOp, shape);
  const Nhwc<const float>& like = parts.front();
  const int64_t inner = like.w == 0 ? 0 : output.size() / like.w;
  const auto y = dense_nhwc<float>(output.mutable_data(), 1, 1, like.w, inner);
  {
    py::gil_scoped_release release;
    int64_t offset = 0;
    for (const Nhwc<const float>& part : parts) {
      copy(part, slice(y, offset, part.c));
      offset += part.c;
    }
  }
  return output;
}

std::vector<py::array> bind_split(const py::array& input, const std::vector<int64_t>& sizes, int64_t dim) {
  constexpr const char* kOp = "split";
  const Tensor t = dense_array(kOp, input, dim);
  int64_t left = t.shape[dim];
  for (const int64_t size : sizes) {
    check(size >= 0 && size <= left, kOp, "expected sizes that sum to ", t.shape[dim], ", got ",
          shape_text(sizes.data(), static_cast<int>(sizes.size())));
    left -= size;
  }
  check(left == 0, kOp, "expected sizes that sum to ", t.shape[dim], ", got ",
        shape_text(sizes.data(), static_cast<int>(sizes.size())));
  std::vector<py::array> parts;
  std::vector<Nhwc<float>> views;
  const Nhwc<const float> x = rows_of(t, dim);
  for (const int64_t size : sizes) {
    std::vector<int64_t> shape(t.shape, t.shape + t.rank);
    shape[dim] = size;
    auto part = empty<float>(kOp, shape);
    const int64_t inner = x.w == 0 ? 0 : part.size() / x.w;
    views.push_back(dense_nhwc<float>(part.mutable_data(), 1, 1, x.w, inner));
    parts.push_back(std::move(part));
  }
  {
    py::gil_scoped_release release;
    int64_t offset = 0;
    for (const Nhwc<float>& y : views) {
      copy(slice(x, offset, y.c), y);
      offset += y.c;
    }
  }
  return parts;
}

void define(py::module_& m) {
  m.def("activate", &bind_activate, py::arg("input"), py::arg("activation"), py::arg("slope") = 0.01f,
        py::arg("out") = py::none());
  def_binary(m, "add", &add);
  def_binary(m, "mul", &mul);
  m.def("mul_add", &bind_mul_add, py::arg("a"), py::arg("b"), py::arg("c"), py::arg("activation") = "none",
        py::arg("slope") = 0.01f, py::arg("out") = py::none());
  m.def("concat", &bind_concat, py::arg("tensors"), py::arg("dim"));
  m.def("split", &bind_split, py::arg("input"), py::arg("sizes"), py::arg("dim"));
}

}  // namespace pyvision::elementwise_bind

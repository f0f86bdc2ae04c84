// SPDX-License-Identifier: Apache-2.0
// What the bindings of the convolutions' backward ops share.
#pragma once

#include "core/bind.h"
#include "ops/conv2d_backward/conv2d_backward.h"

namespace pyvision {

// nchw: of a float32 map.
template <class T>
EitherMap<const T> map_view(const py::array& array, const char* op, const char* name, bool nchw) {
  if (!nchw) return {dense_nhwc<const T>(array, op, name)};
  check_type(std::is_same_v<T, float>, op, "expected ", name,
             " of dtype float32 as an NCHW map, got float64");
  const Tensor t = dense_view<const T>(array, op, name, 4);
  return {dense_nhwc<const T>(nullptr, t.shape[0], t.shape[2], t.shape[3], t.shape[1]), t.as<const T>()};
}

// shape: (n, h, w, c)
template <class T>
void check_grad_output(const char* op, const EitherMap<const T>& grad, const std::array<int64_t, 4>& shape) {
  const bool nchw = grad.planes != nullptr;
  const auto in_order = [&](const std::array<int64_t, 4>& s) {
    return nchw ? std::array<int64_t, 4>{s[0], s[3], s[1], s[2]} : s;
  };
  const auto expected = in_order(shape), got = in_order({grad.nhwc.n, grad.nhwc.h, grad.nhwc.w, grad.nhwc.c});
  check(got == expected, op, "expected grad_output of shape ",
        nchw ? "(N, C, H, W) = " : "(N, H, W, C) = ", shape_text(expected.data(), 4), ", got ",
        shape_text(got.data(), 4));
}

// The arrays that a backward op fills: of the shapes of the input, in its layout, the weight (channels last)
// and the bias; those that the mask leaves out are None.
template <class T>
struct Gradients {
  std::optional<py::array_t<T>> arrays[3];
  EitherMap<T> input;
  T* weight = nullptr;
  T* bias = nullptr;

  Gradients(const char* op, const EitherMap<const T>& map, const Tensor& w, int64_t bias_size,
            const std::array<bool, 3>& mask) {
    if (mask[0]) {
      const Nhwc<const T>& x = map.nhwc;
      const bool nchw = map.planes != nullptr;
      arrays[0] = nchw ? empty<T>(op, {x.n, x.c, x.h, x.w}) : empty<T>(op, {x.n, x.h, x.w, x.c});
      T* const data = arrays[0]->mutable_data();
      input = {dense_nhwc<T>(nchw ? nullptr : data, x.n, x.h, x.w, x.c), nchw ? data : nullptr};
    }
    if (mask[1]) {
      arrays[1] = empty<T>(op, {w.shape[0], w.shape[1], w.shape[2], w.shape[3]});
      weight = arrays[1]->mutable_data();
    }
    if (mask[2]) {
      arrays[2] = empty<T>(op, {bias_size});
      bias = arrays[2]->mutable_data();
    }
  }
  py::tuple tuple() const { return py::make_tuple(arrays[0], arrays[1], arrays[2]); }
};

}  // namespace pyvision

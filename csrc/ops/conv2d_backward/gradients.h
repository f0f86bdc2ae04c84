// SPDX-License-Identifier: Apache-2.0
// What the bindings of the convolutions' backward ops share.
#pragma once

#include "core/bind.h"
#include "ops/conv2d_backward/conv2d_backward.h"

namespace pyvision {

template <class T>
void check_grad_output(const char* op, const Nhwc<const T>& g, const std::array<int64_t, 4>& shape) {
  const int64_t got[] = {g.n, g.h, g.w, g.c};
  check(std::equal(shape.begin(), shape.end(), got), op,
        "expected grad_output of shape (N, H, W, C) = ", shape_text(shape.data(), 4), ", got ",
        shape_text(got, 4));
}

// The arrays that a backward op fills: of the shapes of the input, the weight (channels last) and the bias;
// those that the mask leaves out are None.
template <class T>
struct Gradients {
  std::optional<py::array_t<T>> arrays[3];
  Nhwc<T> input;
  T* weight = nullptr;
  T* bias = nullptr;

  Gradients(const char* op, const Nhwc<const T>& x, const Tensor& w, int64_t bias_size,
            const std::array<bool, 3>& mask) {
    if (mask[0]) {
      arrays[0] = empty<T>(op, {x.n, x.h, x.w, x.c});
      input = dense_nhwc<T>(arrays[0]->mutable_data(), x.n, x.h, x.w, x.c);
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

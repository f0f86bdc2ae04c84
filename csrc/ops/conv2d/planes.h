// SPDX-License-Identifier: Apache-2.0
// How the convolutions' bindings take dense NCHW maps.
#pragma once

#include <optional>

#include "core/bind.h"

namespace pyvision {

// An input of that many channels.
template <class T>
Nchw<const T> input_planes(const py::array& input, const char* op, int64_t channels) {
  const Tensor x = dense_view<const T>(input, op, "input", 4);
  check(x.shape[1] == channels, op, "expected input with ", channels, " channels, got ", x.shape[1]);
  return dense_nchw(x.as<const T>(), x.shape[0], x.shape[1], x.shape[2], x.shape[3]);
}

// Null, or of the output's shape (n, c, h, w).
inline const float* residual_planes(const std::optional<py::array>& residual, const char* op,
                                    const std::vector<int64_t>& shape) {
  if (!residual) return nullptr;
  const Tensor r = dense_view<const float>(*residual, op, "residual", 4);
  check(std::equal(shape.begin(), shape.end(), r.shape), op,
        "expected residual of shape (N, C, H, W) = ", shape_text(shape.data(), 4), ", got ", shape_text(r));
  return r.as<const float>();
}

// A fresh output of that shape, (n, c, h, w), that run(output) fills without the interpreter.
template <class T, class Run>
py::array filled_planes(const char* op, const std::vector<int64_t>& shape, Run run) {
  auto output = empty<T>(op, shape);
  T* const y = output.mutable_data();
  {
    py::gil_scoped_release release;
    run(y);
  }
  return std::move(output);
}

}  // namespace pyvision

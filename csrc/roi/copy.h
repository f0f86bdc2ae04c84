// SPDX-License-Identifier: Apache-2.0
// Copies between pixels of neighbouring channels and planes.
#pragma once

#include <cstring>
#include <type_traits>

#include "ops/layout/layout.h"

namespace pyvision {

// x: (rows, cols) with rows x_stride apart, y: (cols, rows) with rows y_stride apart
template <class T>
void transpose(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t rows, int64_t cols) {
  if constexpr (sizeof(T) == sizeof(float)) {  // it moves bits, whatever they mean
    layout_kernels().transpose(reinterpret_cast<const float*>(x), x_stride, reinterpret_cast<float*>(y),
                               y_stride, rows, cols);
  } else {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j) y[j * y_stride + i] = x[i * x_stride + j];
  }
}

// A batch of them, dense. x: (n, rows, cols), y: (n, cols, rows)
template <class T>
void transpose_all(const T* x, T* y, int64_t n, int64_t rows, int64_t cols) {
  if constexpr (std::is_same_v<T, float>)
    nhwc_to_nchw(x, y, n, cols, rows, rows);
  else
    for (int64_t i = 0; i < n; ++i)
      transpose(x + i * rows * cols, cols, y + i * rows * cols, rows, rows, cols);
}

// Rows of neighbouring channels: x, y: (rows, cols), rows x_stride and y_stride apart
template <class T>
void copy_rows(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t rows, int64_t cols) {
  constexpr int64_t kLine = 64 / sizeof(T);
  const auto copy = [&](int64_t size) __attribute__((always_inline)) {
    for (int64_t i = 0; i < rows; ++i)
      std::memcpy(y + i * y_stride, x + i * x_stride, static_cast<size_t>(size) * sizeof(T));
  };
  cols == kLine ? copy(kLine) : copy(cols);  // the former without a call
}

}  // namespace pyvision

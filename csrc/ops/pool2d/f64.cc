// SPDX-License-Identifier: Apache-2.0
// The kernels in f64, by plain loops: for gradient checks.
#include <algorithm>

#include "ops/pool2d/pool2d.h"

namespace pyvision {
namespace {

// Calls visit(value, tap) for the taps of a window in order. x: its first tap, of one channel
template <class Visit>
void for_each_tap(const PoolWindow& window, const double* x, Visit visit) {
  for (int64_t i = 0; i < window.rows; ++i)
    for (int64_t j = 0; j < window.cols; ++j)
      visit(x[i * window.row_stride + j * window.col_stride], i * window.cols + j);
}

void max_with_taps(const PoolWindow& window, const double* x, int64_t x_step, double* y, int64_t y_step,
                   int32_t* taps, int64_t count, int64_t channels) {
  for (int64_t p = 0; p < count; ++p) {
    for (int64_t c = 0; c < channels; ++c) {
      double most = x[p * x_step + c];
      int64_t chosen = 0;
      for_each_tap(window, x + p * x_step + c, [&](double value, int64_t tap) {
        if (value > most || value != value) most = value, chosen = tap;
      });
      y[p * y_step + c] = most;
      if (taps != nullptr) taps[p * channels + c] = static_cast<int32_t>(chosen);
    }
  }
}

void max(const PoolWindow& window, const double* x, int64_t x_step, double* y, int64_t y_step, int64_t count,
         int64_t channels) {
  max_with_taps(window, x, x_step, y, y_step, nullptr, count, channels);
}

void average(const PoolWindow& window, const double* x, int64_t x_step, double* y, int64_t y_step,
             int64_t count, int64_t channels, double divisor) {
  for (int64_t p = 0; p < count; ++p) {
    for (int64_t c = 0; c < channels; ++c) {
      double sum = 0;
      for_each_tap(window, x + p * x_step + c, [&](double value, int64_t) { sum += value; });
      y[p * y_step + c] = sum / divisor;
    }
  }
}

}  // namespace

const Pool2dKernelsOf<double>& pool2d_f64_kernels() {
  static constexpr Pool2dKernelsOf<double> kKernels = {"scalar", max, max_with_taps, average};
  return kKernels;
}

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// One bin of one plane at a time.
#pragma once

#include <algorithm>

#include "roi/regions.h"

namespace pyvision {

template <class T>
T sum_few(const FourTaps<T>& y, const FourTaps<T>& x, const T* plane) {
  const auto row = [&](int64_t i) {
    const T* const row = plane + y.at[i];
    return y.weight[i] * ((x.weight[0] * row[x.at[0]] + x.weight[1] * row[x.at[1]]) +
                          (x.weight[2] * row[x.at[2]] + x.weight[3] * row[x.at[3]]));
  };
  return (row(0) + row(1)) + (row(2) + row(3));
}

// How a bin is summed, for many planes.
template <class T>
class BinSum {
 public:
  BinSum(const RoiGrid& grid, const Region<T>& region, int64_t bin, int64_t width) : width_(width) {
    const RoiAxis<T>&y = region.taps.y, &x = region.taps.x;
    const int64_t y_bin = grid.y_bin(bin / grid.w, bin % grid.w), y_first = y.first[y_bin];
    const int64_t x_bin = grid.x_bin(bin / grid.w, bin % grid.w), x_first = x.first[x_bin];
    y_index_ = y.index + y_first, y_weight_ = y.weight + y_first, rows_ = y.first[y_bin + 1] - y_first;
    x_index_ = x.index + x_first, x_weight_ = x.weight + x_first, columns_ = x.first[x_bin + 1] - x_first;
    if (empty() || !few()) return;
    few_y_ = {y_index_, y_weight_, rows_, width};
    few_x_ = {x_index_, x_weight_, columns_, 1};
  }

  T operator()(const T* plane) const {
    return empty() ? 0 : few() ? sum_few(few_y_, few_x_, plane) : sum_many(plane);
  }

 private:
  typedef T Four __attribute__((vector_size(4 * sizeof(T)), aligned(alignof(T)), may_alias));

  bool empty() const { return rows_ == 0 || columns_ == 0; }
  bool few() const { return rows_ <= 4 && columns_ <= 4; }

  T sum_many(const T* plane) const {
    if (columns_ >= 4 && x_index_[columns_ - 1] - x_index_[0] == columns_ - 1) return sum_neighbours(plane);
    T sum = 0;
    for (int64_t i = 0; i < rows_; ++i) {
      const T* const row = plane + y_index_[i] * width_;
      T across = 0;
      for (int64_t j = 0; j < columns_; ++j) across += x_weight_[j] * row[x_index_[j]];
      sum += y_weight_[i] * across;
    }
    return sum;
  }

  // At least four neighbouring columns, four at a time down all rows; the last four overlap those before.
  T sum_neighbours(const T* plane) const {
    Four sums = {};
    plane += x_index_[0];
    for (int64_t j = 0; j < columns_; j += 4) {
      const int64_t first = std::min(j, columns_ - 4);
      Four down = {};
      for (int64_t i = 0; i < rows_; ++i)
        down += y_weight_[i] * *reinterpret_cast<const Four*>(plane + y_index_[i] * width_ + first);
      for (int64_t k = 0; k < j - first; ++k) down[k] = 0;  // counted before
      sums += *reinterpret_cast<const Four*>(x_weight_ + first) * down;
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }

  int64_t width_, rows_, columns_;
  const int32_t *y_index_, *x_index_;
  const T *y_weight_, *x_weight_;
  FourTaps<T> few_y_, few_x_;
};

}  // namespace pyvision

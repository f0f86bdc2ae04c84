// SPDX-License-Identifier: Apache-2.0
// One bin of one channel at a time, for maps whose channels do not make vectors.
#pragma once

#include <algorithm>

#include "roi/regions.h"

namespace pyvision {

// How one channel of a bin is summed, for many channels. Few taps, as of two samples an axis, are 4 x 4
// whatever they are: the sum then has no branch that hangs on their number.
template <class T>
class BinSum {
 public:
  BinSum(const RoiGrid& grid, const Region<T>& region, int64_t bin, int64_t stride_h, int64_t stride_w)
      : stride_h_(stride_h), stride_w_(stride_w) {
    const RoiAxis<T>&y = region.taps.y, &x = region.taps.x;
    const int64_t y_bin = grid.y_bin(bin / grid.w, bin % grid.w), y_first = y.first[y_bin];
    const int64_t x_bin = grid.x_bin(bin / grid.w, bin % grid.w), x_first = x.first[x_bin];
    y_index_ = y.index + y_first, y_weight_ = y.weight + y_first, rows_ = y.first[y_bin + 1] - y_first;
    x_index_ = x.index + x_first, x_weight_ = x.weight + x_first, columns_ = x.first[x_bin + 1] - x_first;
    if (empty() || !few()) return;
    fill(y_index_, y_weight_, rows_, stride_h, row_, row_weight_);
    fill(x_index_, x_weight_, columns_, stride_w, column_, column_weight_);
  }

  T operator()(const T* map) const { return empty() ? 0 : few() ? sum_few(map) : sum_many(map); }

  // The same of `count` channels that lie `step` apart.
  void operator()(const T* map, int64_t step, int64_t count, T* out) const {
    int64_t c = 0;
    if (!empty() && !few())
      for (; c + 4 <= count; c += 4) sum_four(map + c * step, step, out + c);
    for (; c < count; ++c) out[c] = (*this)(map + c * step);
  }

 private:
  typedef T Four __attribute__((vector_size(4 * sizeof(T)), aligned(alignof(T)), may_alias));

  // Four taps: the last has its weight in halves of halves where there are fewer.
  static void fill(const int32_t* index, const T* weight, int64_t count, int64_t stride, int64_t* offsets,
                   T* weights) {
    for (int64_t i = 0; i < 4; ++i) {
      offsets[i] = index[std::min(i, count - 1)] * stride;
      if (i >= count) weights[i - 1] /= 2;
      weights[i] = i < count ? weight[i] : weights[i - 1];
    }
  }

  bool empty() const { return rows_ == 0 || columns_ == 0; }
  bool few() const { return rows_ <= 4 && columns_ <= 4; }

  T sum_few(const T* map) const {
    T sum = 0;
    for (int64_t i = 0; i < 4; ++i) {
      const T* const row = map + row_[i];
      sum += row_weight_[i] * ((column_weight_[0] * row[column_[0]] + column_weight_[1] * row[column_[1]]) +
                               (column_weight_[2] * row[column_[2]] + column_weight_[3] * row[column_[3]]));
    }
    return sum;
  }
  T sum_many(const T* map) const {
    if (stride_w_ == 1 && columns_ >= 4 && x_index_[columns_ - 1] - x_index_[0] == columns_ - 1)
      return sum_neighbours(map);
    T same[4];
    sum_four(map, 0, same);
    return same[0];
  }

  // Four channels.
  void sum_four(const T* map, int64_t step, T* out) const {
    Four sums = {};
    for (int64_t i = 0; i < rows_; ++i) {
      const T* const row = map + y_index_[i] * stride_h_;
      Four across = {};
      for (int64_t j = 0; j < columns_; ++j) {
        const T* const p = row + x_index_[j] * stride_w_;
        across += x_weight_[j] * Four{p[0], p[step], p[2 * step], p[3 * step]};
      }
      sums += y_weight_[i] * across;
    }
    for (int64_t k = 0; k < 4; ++k) out[k] = sums[k];
  }

  // At least four neighbouring columns, four at a time down all rows; the last four overlap those before.
  T sum_neighbours(const T* map) const {
    Four sums = {};
    map += x_index_[0];
    for (int64_t j = 0; j < columns_; j += 4) {
      const int64_t first = std::min(j, columns_ - 4);
      Four down = {};
      for (int64_t i = 0; i < rows_; ++i)
        down += y_weight_[i] * *reinterpret_cast<const Four*>(map + y_index_[i] * stride_h_ + first);
      for (int64_t k = 0; k < j - first; ++k) down[k] = 0;  // counted before
      sums += *reinterpret_cast<const Four*>(x_weight_ + first) * down;
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }

  int64_t stride_h_, stride_w_, rows_, columns_;
  const int32_t *y_index_, *x_index_;
  const T *y_weight_, *x_weight_;
  int64_t row_[4], column_[4];  // of few taps
  T row_weight_[4], column_weight_[4];
};

}  // namespace pyvision

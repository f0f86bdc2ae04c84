// SPDX-License-Identifier: Apache-2.0
// One bin of one channel at a time, for maps whose channels do not make vectors.
#pragma once

#include <algorithm>

#include "roi/regions.h"

namespace pyvision {

// A bin's taps along one axis, one to four, as four: where there are fewer, some have their weight in halves
// or quarters, which add up to just what they would be. Sums of them have no branch that hangs on their
// number. `at`: of the pixels in the map
template <class T>
struct FourTaps {
  int64_t at[4];
  T weight[4];

  FourTaps() = default;
  FourTaps(const int32_t* index, const T* weights, int64_t count, int64_t stride) {
    constexpr int64_t kTap[4][4] = {{0, 0, 0, 0}, {0, 0, 1, 1}, {0, 1, 2, 2}, {0, 1, 2, 3}};
    constexpr T kShare[4][4] = {
        {0.25, 0.25, 0.25, 0.25}, {0.5, 0.5, 0.5, 0.5}, {1, 1, 0.5, 0.5}, {1, 1, 1, 1}};
    for (int64_t i = 0; i < 4; ++i) {
      at[i] = index[kTap[count - 1][i]] * stride;
      weight[i] = weights[kTap[count - 1][i]] * kShare[count - 1][i];
    }
  }
};

template <class T>
T sum_few(const FourTaps<T>& y, const FourTaps<T>& x, const T* map) {
  const auto row = [&](int64_t i) {
    const T* const row = map + y.at[i];
    return y.weight[i] * ((x.weight[0] * row[x.at[0]] + x.weight[1] * row[x.at[1]]) +
                          (x.weight[2] * row[x.at[2]] + x.weight[3] * row[x.at[3]]));
  };
  return (row(0) + row(1)) + (row(2) + row(3));
}

// How one channel of a bin is summed, for many channels.
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
    few_y_ = {y_index_, y_weight_, rows_, stride_h};
    few_x_ = {x_index_, x_weight_, columns_, stride_w};
  }

  T operator()(const T* map) const {
    return empty() ? 0 : few() ? sum_few(few_y_, few_x_, map) : sum_many(map);
  }

  // The same of `count` channels that lie `step` apart.
  void operator()(const T* map, int64_t step, int64_t count, T* out) const {
    int64_t c = 0;
    if (!empty() && !few())
      for (; c + 4 <= count; c += 4) sum_four(map + c * step, step, out + c);
    for (; c < count; ++c) out[c] = (*this)(map + c * step);
  }

 private:
  typedef T Four __attribute__((vector_size(4 * sizeof(T)), aligned(alignof(T)), may_alias));

  bool empty() const { return rows_ == 0 || columns_ == 0; }
  bool few() const { return rows_ <= 4 && columns_ <= 4; }

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
  FourTaps<T> few_y_, few_x_;
};

}  // namespace pyvision

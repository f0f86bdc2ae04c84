// SPDX-License-Identifier: Apache-2.0
#include "ops/ps_roi_align/ps_roi_align.h"
#include "simd/f64-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// weight * down, but 0 where the weight is: 0 times an infinite pixel would be NaN.
template <class T>
inline Vec<T> across(const T* weight, Vec<T> down) {
  const Vec<T> w = Vec<T>::load(weight);
  return select(w == Vec<T>::zero(), Vec<T>::zero(), w * down);
}

// Down the rows first, whatever the columns between taps hold: those are left out at the end.
template <class T>
void sum_plane(const RoiAxis<T>& y, const RoiSpans<T>& x, int64_t begin, int64_t end, const T* plane,
               int64_t width, T* sums) {
  constexpr int64_t kLanes = Vec<T>::kLanes;
  const int lanes = static_cast<int>(width < kLanes ? width : kLanes);
  for (int64_t k = begin; k < end; ++k) {
    Vec<T> sum = Vec<T>::zero();
    for (int64_t span = x.first[k]; span < x.first[k + 1]; ++span) {
      const T* const column = plane + x.column[span];
      Vec<T> down = Vec<T>::zero();
      for (int64_t i = y.first[k]; i < y.first[k + 1]; ++i)
        down = fma(Vec<T>::set(y.weight[i]), Vec<T>::load_n(column + y.index[i] * width, lanes), down);
      sum = sum + across(x.weight + span * kLanes, down);
    }
    sums[k] = reduce_add(sum);
  }
}

template <class T>
void sum_tile(const TilePart<T>* parts, int64_t count, const T* plane, T* sums) {
  constexpr int64_t kLanes = Vec<T>::kLanes, kVectors = kTileWidth / kLanes;
  for (int64_t k = 0; k < count; ++k) {
    const TilePart<T>& part = parts[k];
    Vec<T> down[kVectors];
    for (int64_t j = 0; j < kVectors; ++j) down[j] = Vec<T>::zero();
    for (int64_t i = 0; i < part.rows; ++i) {
      const Vec<T> share = Vec<T>::set(part.y_weight[i]);
      const T* const row = plane + part.y_index[i] * kTileWidth;
      for (int64_t j = 0; j < kVectors; ++j) down[j] = fma(share, Vec<T>::load(row + j * kLanes), down[j]);
    }
    Vec<T> sum = Vec<T>::zero();
    for (int64_t j = 0; j < kVectors; ++j) sum = sum + across(part.x_weight + j * kLanes, down[j]);
    sums[k] = reduce_add(sum);
  }
}

template <class T>
void add_tile(const TilePart<T>* parts, int64_t count, const T* grads, T* plane) {
  constexpr int64_t kLanes = Vec<T>::kLanes, kVectors = kTileWidth / kLanes;
  for (int64_t k = 0; k < count; ++k) {
    const TilePart<T>& part = parts[k];
    Vec<T> shares[kVectors];
    for (int64_t j = 0; j < kVectors; ++j)
      shares[j] = across(part.x_weight + j * kLanes, Vec<T>::set(grads[k]));
    for (int64_t i = 0; i < part.rows; ++i) {
      const Vec<T> weight = Vec<T>::set(part.y_weight[i]);
      T* const row = plane + part.y_index[i] * kTileWidth;
      for (int64_t j = 0; j < kVectors; ++j)
        fma(weight, shares[j], Vec<T>::load(row + j * kLanes)).store(row + j * kLanes);
    }
  }
}

template <class T>
constexpr OwnChannelKernels<T> kOwnChannels = {sum_plane<T>, sum_tile<T>, add_tile<T>, Vec<T>::kLanes};

const PsRoiAlignKernels ps_roi_align = {F32::kIsaName, kOwnChannels<float>, kOwnChannels<double>};

}  // namespace pyvision::PYVISION_ISA_NS

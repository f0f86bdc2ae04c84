// SPDX-License-Identifier: Apache-2.0
#include "ops/ps_roi_align/ps_roi_align.h"
#include "simd/f64-inl.h"
#include "simd/lanes-inl.h"

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
void split_pixel(const SplitRow& shape, const T* pixel, T* planes) {
  for_each_vector<T>(shape.bins, [&](int64_t bin, int lanes) {
    if (lanes == 1) {  // such as the last of 7 x 7 bins
      for (int64_t o = 0; o < shape.outputs; ++o) planes[bin * shape.plane + o] = pixel[o * shape.bins + bin];
      return;
    }
    for (int64_t o = 0; o < shape.outputs; o += 4) {
      Vec<T> rows[4];
      for (int64_t r = 0; r < 4; ++r)
        rows[r] =
            o + r < shape.outputs ? load_lanes(pixel + (o + r) * shape.bins + bin, lanes) : Vec<T>::zero();
      store_fours(rows, planes + bin * shape.plane + o, shape.plane, lanes);
    }
  });
}

template <class T>
void sum_row(const SplitRow& shape, const TileTap<T>* taps, int64_t count, const T* planes, T* sums,
             int64_t sums_step) {
  static constexpr T zeros[Vec<T>::kLanes] = {};
  for_each_vector<T>(shape.outputs, [&](int64_t o, int lanes) {
    for (const TileTap<T>* tap = taps; tap < taps + count; ++tap) {
      const Vec<T> down = Vec<T>::set(tap->weight);
      for (const TileSpan<T>* span = tap->begin; span < tap->end; ++span) {
        const T* const plane = planes + (tap->bin + span->bin) * shape.plane + o;
        T* const to = sums + (tap->entry + span->entry) * sums_step + o;
        const auto term = [&](int j, Vec<T> sum) __attribute__((always_inline)) {
          return fma(Vec<T>::set(span->weight[j]), load_lanes(plane + span->at[j], lanes), sum);
        };
        Vec<T> across = Vec<T>::zero();
        for (int j = 0; j < 4; ++j) across = term(j, across);
        if (span->count > 4)
          for (int j = 4; j < 8; ++j) across = term(j, across);
        store_lanes(fma(down, across, load_lanes(tap->is_first ? zeros : to, lanes)), to, lanes);
      }
    }
  });
}

template <class T>
void add_row(const SplitRow& shape, const TileTap<T>* taps, int64_t count, const T* grads, int64_t grads_step,
             T* planes) {
  for (const TileTap<T>* tap = taps; tap < taps + count; ++tap) {
    const Vec<T> down = Vec<T>::set(tap->weight);
    for (const TileSpan<T>* span = tap->begin; span < tap->end; ++span) {
      T* const plane = planes + (tap->bin + span->bin) * shape.plane;
      const T* const grad = grads + (tap->entry + span->entry) * grads_step;
      for_each_vector<T>(shape.outputs, [&](int64_t o, int lanes) {
        const Vec<T> share = down * load_lanes(grad + o, lanes);
        for (int j = 0; j < span->count; ++j) {
          T* const pixel = plane + span->at[j] + o;
          store_lanes(fma(Vec<T>::set(span->weight[j]), share, load_lanes(pixel, lanes)), pixel, lanes);
        }
      });
    }
  }
}

template <class T>
constexpr OwnChannelKernels<T> kOwnChannels = {sum_plane<T>, split_pixel<T>, sum_row<T>, add_row<T>,
                                               Vec<T>::kLanes};

const PsRoiAlignKernels ps_roi_align = {F32::kIsaName, kOwnChannels<float>, kOwnChannels<double>};

}  // namespace pyvision::PYVISION_ISA_NS

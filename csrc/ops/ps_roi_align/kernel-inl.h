// SPDX-License-Identifier: Apache-2.0
#include "ops/ps_roi_align/ps_roi_align.h"
#include "simd/f64-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Down the rows first, whatever the columns between taps hold: those are left out at the end, for 0 times an
// infinite pixel would be NaN.
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
      const Vec<T> weight = Vec<T>::load(x.weight + span * kLanes);
      sum = sum + select(weight == Vec<T>::zero(), Vec<T>::zero(), weight * down);
    }
    sums[k] = reduce_add(sum);
  }
}

const PsRoiAlignKernels ps_roi_align = {
    F32::kIsaName, {sum_plane<float>, F32::kLanes}, {sum_plane<double>, Vec<double>::kLanes}};

}  // namespace pyvision::PYVISION_ISA_NS

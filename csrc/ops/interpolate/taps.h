// SPDX-License-Identifier: Apache-2.0
// A resampling along one axis as a sparse matrix: what every output position takes from which input
// positions. Its transpose is the gradient's.
#pragma once

#include <vector>

#include "core/tensor.h"
#include "ops/interpolate/params.h"

namespace pyvision {

template <class T>
struct AxisTaps {
  // Output position i takes weight[k] of input position index[k], k in [first[i], first[i + 1]).
  std::vector<int64_t> first{0}, index;
  std::vector<T> weight;

  int64_t outputs() const { return static_cast<int64_t>(first.size()) - 1; }
};

// stated_scale: as interpolate_step's
template <class T>
AxisTaps<T> interpolate_taps(const InterpolateParams& params, double stated_scale, int64_t in, int64_t out);

// in: extent of what `taps` read
template <class T>
AxisTaps<T> transposed(const AxisTaps<T>& taps, int64_t in);

// y = rows x columns^T (+ addend) of every channel. x: (n, h, w, c), addend: null or as y, y: (n,
// rows.outputs(), columns.outputs(), c). The addend may be y's own memory; x may not.
template <class T>
void resample(const AxisTaps<T>& rows, const AxisTaps<T>& columns, const Nhwc<const T>& x,
              const Nhwc<const T>* addend, const Nhwc<T>& y);

}  // namespace pyvision

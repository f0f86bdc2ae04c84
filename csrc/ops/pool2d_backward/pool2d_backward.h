// SPDX-License-Identifier: Apache-2.0
// Gradients of the poolings of pool2d.h by their input:
//   max_pool2d:          dx[n, h, w, c] = sum of dy[n, oh, ow, c] over the windows around (h, w) whose
//                        maximum was there: indices[n, oh, ow, c] = h * W + w
//   avg_pool2d, adaptive_avg_pool2d:
//                        dx[n, h, w, c] = sum of dy[n, oh, ow, c] / divisor(oh, ow) over the windows that
//                        hold (h, w)
// Every pixel pulls from its windows in rising order, so that the sums are the same for any number of
// threads. Indices are compared and never followed: one that lies beyond its window passes nothing on.
//
// NHWC, dense; T: float, double.
#pragma once

#include <cstdint>

#include "core/tensor.h"
#include "ops/pool2d/params.h"

namespace pyvision {

// dy, indices: (n, out_h, out_w, c) as the parameters say; dx: (n, h, w, c)
template <class T>
void max_pool2d_backward(const Pool2dParams& params, const Nhwc<const T>& dy, const int64_t* indices,
                         const Nhwc<T>& dx);
template <class T>
void avg_pool2d_backward(const Pool2dParams& params, const Nhwc<const T>& dy, const Nhwc<T>& dx);
// dy: (n, any, any, c)
template <class T>
void adaptive_avg_pool2d_backward(const Nhwc<const T>& dy, const Nhwc<T>& dx);

}  // namespace pyvision

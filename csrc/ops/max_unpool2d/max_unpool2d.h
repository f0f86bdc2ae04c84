// SPDX-License-Identifier: Apache-2.0
// max_unpool2d: values put back to where max_pool2d found them, as torch.nn.functional's:
//   y[n, indices[n, h, w, c] of the plane, c] = x[n, h, w, c], 0 elsewhere
// Of several values for one place the last remains, in the order of rows and columns. The gradient is
// gathered from the same places.
//
// NHWC, dense. An index is h * W + w of the plane.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace pyvision {

// indices: as x, each within [0, y.h * y.w)
template <class T>
void max_unpool2d(const Nhwc<const T>& x, const int64_t* indices, const Nhwc<T>& y);
// grad_y: as y, grad_x: as x
template <class T>
void max_unpool2d_backward(const Nhwc<const T>& grad_y, const int64_t* indices, const Nhwc<T>& grad_x);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// Keys' cubic convolution with a = -3/4: weights of four neighbours of a position that lies f behind the
// second.
//   k(x) = (a + 2) x^3 - (a + 3) x^2 + 1 for x in [0, 1], a x^3 - 5a x^2 + 8a x - 4a for x in [1, 2]
#pragma once

namespace pyvision::PYVISION_ISA_NS {

template <class T>
inline void cubic_weights(T f, T* weight) {
  const T a = static_cast<T>(-0.75);
  const auto near = [a](T x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [a](T x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  weight[0] = far(1 + f), weight[1] = near(f), weight[2] = near(1 - f), weight[3] = far(2 - f);
}

// Their derivatives by f.
template <class T>
inline void cubic_slopes(T f, T* slope) {
  const T a = static_cast<T>(-0.75);
  const auto near = [a](T x) { return (3 * (a + 2) * x - 2 * (a + 3)) * x; };
  const auto far = [a](T x) { return (3 * a * x - 10 * a) * x + 8 * a; };
  slope[0] = far(1 + f), slope[1] = near(f), slope[2] = -near(1 - f), slope[3] = -far(2 - f);
}

}  // namespace pyvision::PYVISION_ISA_NS

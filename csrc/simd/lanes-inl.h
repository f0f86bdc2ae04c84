// SPDX-License-Identifier: Apache-2.0
// Whole or partial vectors by one name: `lanes` is Vec<T>::kLanes in the body of a loop and less in its tail.
#pragma once

#include <cstdint>

namespace pyvision::PYVISION_ISA_NS {

template <class T>
inline Vec<T> load_lanes(const T* p, int lanes) {
  return lanes == Vec<T>::kLanes ? Vec<T>::load(p) : Vec<T>::load_n(p, lanes);
}
template <class T>
inline void store_lanes(Vec<T> x, T* p, int lanes) {
  if (lanes == Vec<T>::kLanes)
    x.store(p);
  else
    x.store_n(p, lanes);
}

// Calls body(i, lanes) for the vectors that cover [0, n): `lanes` is a constant in the unrolled copy for
// whole ones.
template <class T, class Body>
[[gnu::always_inline]] inline void for_each_vector(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + Vec<T>::kLanes <= n; i += Vec<T>::kLanes) body(i, Vec<T>::kLanes);
  if (i < n) body(i, static_cast<int>(n - i));
}

}  // namespace pyvision::PYVISION_ISA_NS

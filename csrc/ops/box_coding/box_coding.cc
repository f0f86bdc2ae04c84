// SPDX-License-Identifier: Apache-2.0
#include "ops/box_coding/box_coding.h"

#include <algorithm>
#include <type_traits>

#include "core/parallel.h"

namespace pyvision {
namespace {

constexpr int64_t kGrain = 4096;  // boxes: some 20 us

template <class T>
const BoxCodingOf<T>& kernels() {
  if constexpr (std::is_same_v<T, float>)
    return box_coding_kernels().f32;
  else
    return box_coding_kernels().f64;
}

}  // namespace

template <class T>
void encode_boxes(const T* boxes, const T* proposals, T* codes, int64_t n, const T* weights) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    kernels<T>().encode(boxes + 4 * begin, proposals + 4 * begin, codes + 4 * begin, end - begin, weights);
  });
}

template <class T>
void decode_boxes(const T* codes, const T* proposals, T* boxes, int64_t n, int64_t per_box, const T* weights,
                  T clip) {
  parallel_for(n, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, per_box)),
               [&](int64_t begin, int64_t end) {
                 kernels<T>().decode(codes + 4 * per_box * begin, proposals + 4 * begin,
                                     boxes + 4 * per_box * begin, end - begin, per_box, weights, clip);
               });
}

template void encode_boxes<float>(const float*, const float*, float*, int64_t, const float*);
template void encode_boxes<double>(const double*, const double*, double*, int64_t, const double*);
template void decode_boxes<float>(const float*, const float*, float*, int64_t, int64_t, const float*, float);
template void decode_boxes<double>(const double*, const double*, double*, int64_t, int64_t, const double*,
                                   double);

}  // namespace pyvision

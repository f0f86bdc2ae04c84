// SPDX-License-Identifier: Apache-2.0
#include "ops/multi_scale_deformable_attention/multi_scale_deformable_attention.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "core/parallel.h"

namespace pyvision {
namespace {

// The levels' extents and places, repeated for each of a level's points.
template <class T>
class Maps {
 public:
  Maps(const int64_t* shapes, int64_t levels, int64_t points, int64_t pixel) : pixel_(pixel) {
    int64_t first = 0;
    for (int64_t l = 0; l < levels; ++l) {
      const int64_t h = shapes[2 * l], w = shapes[2 * l + 1];
      for (int64_t p = 0; p < points; ++p) {
        h_.push_back(static_cast<T>(h));
        w_.push_back(static_cast<T>(w));
        origin_.push_back(first * pixel);
        row_.push_back(w * pixel);
      }
      first += h * w;
    }
  }
  SampledMaps<T> view() const {
    return {static_cast<int64_t>(h_.size()), h_.data(), w_.data(), origin_.data(), row_.data(), pixel_};
  }

 private:
  std::vector<T> h_, w_;
  std::vector<int64_t> origin_, row_;
  int64_t pixel_;
};

}  // namespace

template <class T>
void deformable_attention(DeformableAttention<T> job, const int64_t* shapes, int64_t levels, int64_t points,
                          T* out) {
  const Maps<T> maps(shapes, levels, points, job.heads * job.channels);
  job.maps = maps.view();
  const DeformableAttentionKernels& kernels = multi_scale_deformable_attention_kernels();
  const int64_t query_cost = job.heads * (levels * points * (job.channels * 4 + 64) + 64);  // operations
  const int64_t grain = std::max<int64_t>(1, (1 << 19) / query_cost);  // some 20 us a task
  parallel_for(job.n * job.queries, grain, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>)
      kernels.forward_f32(job, begin, end, out);
    else
      kernels.forward_f64(job, begin, end, out);
  });
}

template <class T>
void deformable_attention_backward(DeformableAttention<T> job, const int64_t* shapes, int64_t levels,
                                   int64_t points, const DeformableAttentionGradients<T>& grad) {
  const Maps<T> maps(shapes, levels, points, job.heads * job.channels);
  job.maps = maps.view();
  const DeformableAttentionKernels& kernels = multi_scale_deformable_attention_kernels();
  std::memset(grad.value, 0, static_cast<size_t>(job.n * job.pixels * job.maps.pixel) * sizeof(T));
  // Heads see channels of their own, so that no two tasks add to one address, and queries add in their order.
  parallel_for(job.n * job.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / job.heads, head = task % job.heads;  // [0, n), [0, heads)
      if constexpr (std::is_same_v<T, float>)
        kernels.backward_f32(job, grad, image, head);
      else
        kernels.backward_f64(job, grad, image, head);
    }
  });
}

#define PYVISION_INSTANTIATE(T)                                                                         \
  template void deformable_attention(DeformableAttention<T>, const int64_t*, int64_t, int64_t, T*);     \
  template void deformable_attention_backward(DeformableAttention<T>, const int64_t*, int64_t, int64_t, \
                                              const DeformableAttentionGradients<T>&);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
#include "ops/multi_scale_deformable_attention/multi_scale_deformable_attention.h"
#include "simd/sample_points-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Positions and factors of one query's points at one head; i counts (n, query, head).
template <class T>
[[gnu::always_inline]] inline auto place_points(const DeformableAttention<T>& job, int64_t i) {
  const T* const locations = job.locations + i * job.maps.points * 2;
  const T* const weights = job.weights + i * job.maps.points;
  const T *h = job.maps.h, *w = job.maps.w;
  return [=](int64_t first, int count, PointBlock<T>* block) __attribute__((always_inline)) {
    for (int p = 0; p < count; ++p) {
      block->x[p] = locations[2 * (first + p)] * w[first + p] - T(0.5);
      block->y[p] = locations[2 * (first + p) + 1] * h[first + p] - T(0.5);
      block->scale[p] = weights[first + p];
    }
  };
}

template <class T>
void attend(const DeformableAttention<T>& job, int64_t begin, int64_t end, T* out) {
  for (int64_t q = begin; q < end; ++q) {
    const T* const image = job.value + q / job.queries * job.pixels * job.maps.pixel;
    for (int64_t m = 0; m < job.heads; ++m) {
      const int64_t i = q * job.heads + m;
      sum_all_points(job.maps, image + m * job.channels, job.channels, out + i * job.channels,
                     place_points(job, i));
    }
  }
}

template <class T>
void attend_backward(const DeformableAttention<T>& job, const DeformableAttentionGradients<T>& grad,
                     int64_t image, int64_t head) {
  const int64_t base = image * job.pixels * job.maps.pixel + head * job.channels;
  for (int64_t q = image * job.queries; q < (image + 1) * job.queries; ++q) {
    const int64_t i = q * job.heads + head, points = job.maps.points;
    scatter_all_points(job.maps, job.value + base, grad.output + i * job.channels, job.channels,
                       grad.value + base, place_points(job, i), [&](int64_t p, const SampleGradient<T>& g) {
                         grad.locations[(i * points + p) * 2] = g.x * job.maps.w[p];
                         grad.locations[(i * points + p) * 2 + 1] = g.y * job.maps.h[p];
                         grad.weights[i * points + p] = g.scale;
                       });
  }
}

const DeformableAttentionKernels multi_scale_deformable_attention = {
    F32::kIsaName, attend<float>, attend<double>, attend_backward<float>, attend_backward<double>};

}  // namespace pyvision::PYVISION_ISA_NS

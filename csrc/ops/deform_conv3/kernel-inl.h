// SPDX-License-Identifier: Apache-2.0
#include "ops/deform_conv3/deform_conv3.h"
#include "simd/sample_points-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Positions and factors of the taps of output pixel i, [0, n * out_h * out_w), in one group.
template <class T>
[[gnu::always_inline]] inline auto place_taps(const DeformConv3<T>& job, int64_t i, int64_t group) {
  const int64_t half_h = job.dilation_h * (job.kernel_h - 1) / 2,
                half_w = job.dilation_w * (job.kernel_w - 1) / 2;
  const int64_t oh = i / job.out_w % job.out_h, ow = i % job.out_w;  // [0, out_h), [0, out_w)
  const T scale = job.offset_scale;
  const T y0 = static_cast<T>(oh * job.stride_h - job.pad_h + half_h) - static_cast<T>(half_h) * scale;
  const T x0 = static_cast<T>(ow * job.stride_w - job.pad_w + half_w) - static_cast<T>(half_w) * scale;
  const T *offset = job.offset.at(i, group), *mask = job.mask.at(i, group);
  const T *tap_y = job.tap_y, *tap_x = job.tap_x;
  return [=](int64_t first, int count, PointBlock<T>* block) __attribute__((always_inline)) {
    for (int p = 0; p < count; ++p) {
      block->x[p] = x0 + (tap_x[first + p] + offset[2 * (first + p)]) * scale;
      block->y[p] = y0 + (tap_y[first + p] + offset[2 * (first + p) + 1]) * scale;
      block->scale[p] = mask[first + p];
    }
  };
}

template <class T>
void sum_taps(const DeformConv3<T>& job, int64_t begin, int64_t end, T* out) {
  for (int64_t i = begin; i < end; ++i) {
    const T* const image = job.input + i / job.out_w / job.out_h * job.h * job.w * job.maps.pixel;
    for (int64_t g = 0; g < job.groups; ++g)
      sum_all_points(job.maps, image + g * job.group_channels, job.group_channels,
                     out + (i * job.groups + g) * job.group_channels, place_taps(job, i, g));
  }
}

template <class T>
void sum_taps_backward(const DeformConv3<T>& job, const DeformConv3Gradients<T>& grad, int64_t image,
                       int64_t group) {
  const int64_t base = image * job.h * job.w * job.maps.pixel + group * job.group_channels;
  const int64_t pixels = job.out_h * job.out_w;
  for (int64_t i = image * pixels; i < (image + 1) * pixels; ++i) {
    T *offset = grad.offset.at(i, group), *mask = grad.mask.at(i, group);
    scatter_all_points(job.maps, job.input + base,
                       grad.output + (i * job.groups + group) * job.group_channels, job.group_channels,
                       grad.input + base, place_taps(job, i, group),
                       [&](int64_t p, const SampleGradient<T>& g) {
                         offset[2 * p] = g.x * job.offset_scale;
                         offset[2 * p + 1] = g.y * job.offset_scale;
                         mask[p] = g.scale;
                       });
  }
}

const DeformConv3Kernels deform_conv3 = {F32::kIsaName, sum_taps<float>, sum_taps<double>,
                                         sum_taps_backward<float>, sum_taps_backward<double>};

}  // namespace pyvision::PYVISION_ISA_NS

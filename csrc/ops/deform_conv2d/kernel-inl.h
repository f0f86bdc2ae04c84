// SPDX-License-Identifier: Apache-2.0
#include "conv/deform-inl.h"
#include "conv/direct-inl.h"
#include "ops/deform_conv2d/deform_conv2d.h"

namespace pyvision::PYVISION_ISA_NS {

inline void sample_f64(const DeformField<double>& field, int64_t row, int64_t first, int64_t channels,
                       double* to) {
  sample_pixel(field, DeformPixel<double>(field, row), first, channels, 0, field.taps() * channels, to);
}

template <class T>
void scatter(const DeformScatter<T>& job) {
  const int64_t taps = job.field.taps();
  for (int64_t r = 0; r < job.rows; ++r) {
    const DeformPixel<T> pixel(job.field, job.first_row + r);
    const T* const image = pixel.image + job.channel;
    T* const grad_image = job.grad_input + (image - job.field.input.data);
    for (int64_t tap = 0; tap < taps; ++tap) {
      const DeformRun run{tap / job.field.kernel_w, tap % job.field.kernel_w, job.offset_group, job.channel,
                          job.count};
      T* const column = job.columns + (tap * job.rows + r) * job.width;
      const SampleGradient<T> grad = scatter_corners<true, T>(sample_run<true>(job.field, pixel, run),
                                                              mask_of_run(job.field, pixel, run), image,
                                                              column, job.count, grad_image, column);
      T* const partial = job.partial + (r * taps + tap) * 3;
      partial[0] = grad.y, partial[1] = grad.x, partial[2] = grad.scale;
    }
  }
}

const DeformConv2dKernels deform_conv2d = {F32::kIsaName, run_tiles<BilinearProducer>, sample_f64,
                                           scatter<float>, scatter<double>};

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
#include "ops/deform_conv3/deform_conv3.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "core/parallel.h"

namespace pyvision {
namespace {

// The taps in their order, and the one map that all of them see.
template <class T>
class Taps {
 public:
  explicit Taps(const DeformConv3<T>& job)
      : h_(job.taps(), static_cast<T>(job.h)),
        w_(job.taps(), static_cast<T>(job.w)),
        origin_(job.taps(), 0),
        pixel_(job.groups * job.group_channels),
        row_(job.taps(), job.w * pixel_) {
    for (int64_t kw = 0; kw < job.kernel_w; ++kw) {
      for (int64_t kh = 0; kh < job.kernel_h; ++kh) {
        if (job.remove_center && kw == job.kernel_w / 2 && kh == job.kernel_h / 2) continue;
        y_.push_back(static_cast<T>(kh * job.dilation_h));
        x_.push_back(static_cast<T>(kw * job.dilation_w));
      }
    }
  }
  void attach_to(DeformConv3<T>* job) const {
    job->maps = {job->taps(), h_.data(), w_.data(), origin_.data(), row_.data(), pixel_};
    job->tap_y = y_.data(), job->tap_x = x_.data();
  }

 private:
  std::vector<T> h_, w_, y_, x_;
  std::vector<int64_t> origin_;
  int64_t pixel_;
  std::vector<int64_t> row_;
};

}  // namespace

template <class T>
void deform_conv3(DeformConv3<T> job, T* out) {
  const Taps<T> taps(job);
  taps.attach_to(&job);
  const DeformConv3Kernels& kernels = deform_conv3_kernels();
  const int64_t pixel_cost = job.groups * (job.taps() * (job.group_channels * 4 + 64) + 64);  // operations
  const int64_t grain = std::max<int64_t>(1, (1 << 19) / pixel_cost);  // some 20 us a task
  parallel_for(job.n * job.out_h * job.out_w, grain, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>)
      kernels.forward_f32(job, begin, end, out);
    else
      kernels.forward_f64(job, begin, end, out);
  });
}

template <class T>
void deform_conv3_backward(DeformConv3<T> job, const DeformConv3Gradients<T>& grad) {
  const Taps<T> taps(job);
  taps.attach_to(&job);
  const DeformConv3Kernels& kernels = deform_conv3_kernels();
  std::memset(grad.input, 0, static_cast<size_t>(job.n * job.h * job.w * job.maps.pixel) * sizeof(T));
  // Groups see channels of their own, so that no two tasks add to one address, and pixels add in their order.
  parallel_for(job.n * job.groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / job.groups, group = task % job.groups;  // [0, n), [0, groups)
      if constexpr (std::is_same_v<T, float>)
        kernels.backward_f32(job, grad, image, group);
      else
        kernels.backward_f64(job, grad, image, group);
    }
  });
}

template void deform_conv3(DeformConv3<float>, float*);
template void deform_conv3(DeformConv3<double>, double*);
template void deform_conv3_backward(DeformConv3<float>, const DeformConv3Gradients<float>&);
template void deform_conv3_backward(DeformConv3<double>, const DeformConv3Gradients<double>&);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
#include "ops/roi_align_rotated/roi_align_rotated.h"
#include "simd/sample_points-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Where the samples of a bin lie, and their share of its mean.
template <class T>
[[gnu::always_inline]] inline auto place_samples(const RotatedBox<T>& box, int64_t ph, int64_t pw, T height,
                                                 T width) {
  const T share = 1 / static_cast<T>(box.samples_v * box.samples_u);
  const auto inside = [](T position, T extent) { return position >= -1 && position <= extent; };
  const auto onto = [](T position, T extent) {
    const T last = extent - 1;
    return position < 0 ? 0 : position < last ? position : last;
  };
  return [=](int64_t first, int count, PointBlock<T>* block) __attribute__((always_inline)) {
    for (int p = 0; p < count; ++p) {
      const int64_t i = (first + p) / box.samples_u, j = (first + p) % box.samples_u;
      const T v = box.start_v + static_cast<T>(ph) * box.bin_v +
                  (static_cast<T>(i) + T(0.5)) * box.bin_v / static_cast<T>(box.samples_v);
      const T u = box.start_u + static_cast<T>(pw) * box.bin_u +
                  (static_cast<T>(j) + T(0.5)) * box.bin_u / static_cast<T>(box.samples_u);
      const T y = v * box.cos - u * box.sin + box.center_y;
      const T x = v * box.sin + u * box.cos + box.center_x;
      const bool counts = inside(y, height) && inside(x, width);
      block->y[p] = counts ? onto(y, height) : -2;
      block->x[p] = counts ? onto(x, width) : -2;
      block->scale[p] = share;
    }
  };
}

template <class T>
void gather_rotated(const RoiGrid& grid, const RotatedBox<T>& box, const SampledMaps<T>& maps, const T* image,
                    int64_t channels, T* out) {
  for (int64_t bin = 0; bin < grid.bins(); ++bin)
    sum_all_points(maps, image, channels, out + bin * channels,
                   place_samples(box, bin / grid.w, bin % grid.w, *maps.h, *maps.w));
}

template <class T>
void scatter_rotated(const RoiGrid& grid, const RotatedBox<T>& box, const SampledMaps<T>& maps, const T* grad,
                     int64_t grad_stride, int64_t channels, T* image) {
  for (int64_t bin = 0; bin < grid.bins(); ++bin) {
    // Nobody asks for the gradients of positions, which alone need pixels: any will do.
    scatter_all_points(maps, image, grad + bin * grad_stride, channels, image,
                       place_samples(box, bin / grid.w, bin % grid.w, *maps.h, *maps.w),
                       [](int64_t, const SampleGradient<T>&) {});
  }
}

const RoiAlignRotatedKernels roi_align_rotated = {F32::kIsaName, gather_rotated<float>,
                                                  gather_rotated<double>, scatter_rotated<float>,
                                                  scatter_rotated<double>};

}  // namespace pyvision::PYVISION_ISA_NS

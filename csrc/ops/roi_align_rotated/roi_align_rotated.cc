// SPDX-License-Identifier: Apache-2.0
#include "ops/roi_align_rotated/roi_align_rotated.h"

#include <limits>

#include "roi/axes.h"
#include "roi/pool.h"

namespace pyvision {
namespace {

template <class T>
RotatedBox<T> scaled_box(const RoiAlignRotatedOptions& options, double scale, const T* box) {
  const T factor = static_cast<T>(scale), shift = options.aligned ? T(0.5) : T(0);
  const T least_size = options.aligned ? -std::numeric_limits<T>::infinity() : 1;
  const T width = std::max(box[3] * factor, least_size), height = std::max(box[4] * factor, least_size);
  const double turn = static_cast<double>(box[5]) * (M_PI / 180);
  const SampledAxis<T> v(-height / 2, height, options.grid.h, options.sampling_ratio);
  const SampledAxis<T> u(-width / 2, width, options.grid.w, options.sampling_ratio);
  return {box[2] * factor - shift,
          box[1] * factor - shift,
          static_cast<T>(std::cos(turn)),
          static_cast<T>(std::sin(turn)),
          v.start,
          u.start,
          v.bin,
          u.bin,
          v.samples,
          u.samples};
}

// One map as often as a bin has samples.
template <class T>
class RepeatedMap {
 public:
  RepeatedMap(int64_t samples, int64_t h, int64_t w, int64_t channels)
      : h_(static_cast<size_t>(samples), static_cast<T>(h)),
        w_(static_cast<size_t>(samples), static_cast<T>(w)),
        origin_(static_cast<size_t>(samples), 0),
        row_(static_cast<size_t>(samples), w * channels),
        pixel_(channels) {}

  SampledMaps<T> first(int64_t samples) const {
    return {samples, h_.data(), w_.data(), origin_.data(), row_.data(), pixel_};
  }

 private:
  std::vector<T> h_, w_;
  std::vector<int64_t> origin_, row_;
  int64_t pixel_;
};

template <class T, class Map>
RepeatedMap<T> repeat(const RoiAlignRotatedOptions& options, const RoiMaps<Map>& maps,
                      const RoiBoxes<T>& boxes) {
  const RoiLevel<Map>& level = maps.levels[0];
  const int64_t most = most_rotated_samples(options, level.scale, boxes);
  return {std::max<int64_t>(1, most), level.h, level.w, maps.channels};  // one, to name the extents
}

}  // namespace

template <class T>
int64_t most_rotated_samples(const RoiAlignRotatedOptions& options, double scale, const RoiBoxes<T>& boxes) {
  int64_t most = 0;
  for (int64_t k = 0; k < boxes.count; ++k) {
    const RotatedBox<T> box = scaled_box(options, scale, boxes[k]);
    // The sides alone first: a product may overflow.
    most = std::max({most, box.samples_u > 0 ? box.samples_v : 0, box.samples_v > 0 ? box.samples_u : 0});
    if (most > kMaxRotatedSamples) return most;
    most = std::max(most, box.samples_v * box.samples_u);
  }
  return most;
}

template <class T>
void roi_align_rotated(const RoiAlignRotatedOptions& options, const RoiMaps<const T>& maps,
                       const RoiBoxes<T>& boxes, T* out) {
  GatherRotated<T> kernel;
  if constexpr (std::is_same_v<T, float>)
    kernel = roi_align_rotated_kernels().gather_f32;
  else
    kernel = roi_align_rotated_kernels().gather_f64;
  const RepeatedMap<T> repeated = repeat(options, maps, boxes);
  const RoiLevel<const T>& level = maps.levels[0];
  const int64_t image_size = level.h * level.w * maps.channels, size = options.grid.bins() * maps.channels;
  parallel_for(boxes.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const RotatedBox<T> box = scaled_box(options, level.scale, boxes[k]);
      kernel(options.grid, box, repeated.first(box.samples_v * box.samples_u),
             level.data + boxes.image(k) * image_size, maps.channels, out + k * size);
    }
  });
}

template <class T>
void roi_align_rotated_backward(const RoiAlignRotatedOptions& options, const RoiMaps<T>& maps,
                                const RoiBoxes<T>& boxes, const T* grad) {
  ScatterRotated<T> kernel;
  if constexpr (std::is_same_v<T, float>)
    kernel = roi_align_rotated_kernels().scatter_f32;
  else
    kernel = roi_align_rotated_kernels().scatter_f64;
  const RepeatedMap<T> repeated = repeat(options, maps, boxes);
  const RoiLevel<T>& level = maps.levels[0];
  const int64_t image_size = level.h * level.w * maps.channels, size = options.grid.bins() * maps.channels;
  std::fill_n(level.data, maps.n * image_size, T(0));
  for_each_channel_block(maps.n, maps.channels, [&](int64_t image, int64_t c, int64_t channels) {
    for (int64_t k = 0; k < boxes.count; ++k) {
      if (boxes.image(k) != image) continue;
      const RotatedBox<T> box = scaled_box(options, level.scale, boxes[k]);
      kernel(options.grid, box, repeated.first(box.samples_v * box.samples_u), grad + k * size + c,
             maps.channels, channels, level.data + image * image_size + c);
    }
  });
}

#define PYVISION_INSTANTIATE(T)                                                                     \
  template int64_t most_rotated_samples(const RoiAlignRotatedOptions&, double, const RoiBoxes<T>&); \
  template void roi_align_rotated(const RoiAlignRotatedOptions&, const RoiMaps<const T>&,           \
                                  const RoiBoxes<T>&, T*);                                          \
  template void roi_align_rotated_backward(const RoiAlignRotatedOptions&, const RoiMaps<T>&,        \
                                           const RoiBoxes<T>&, const T*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision

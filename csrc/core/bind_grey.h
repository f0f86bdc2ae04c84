// SPDX-License-Identifier: Apache-2.0
// Grey pictures and their masks from NumPy.
#pragma once

#include <vector>

#include "core/bind.h"
#include "core/grey_image.h"
#include "core/sampled_maps.h"

namespace pyvision {

// (h, w) uint8 whose pixels along a row are neighbours, not empty; extents that kernels may count in 32 bits.
inline GreyImage grey_view(const py::array& array, const char* op, const char* name) {
  const Tensor t = view<const uint8_t>(array, op, name);
  check(t.rank == 2, op, "expected ", name, " of shape (H, W), got ", shape_text(t));
  check(t.numel() > 0, op, "expected ", name, " with pixels, got shape ", shape_text(t));
  check(t.shape[0] <= kMaxSampledExtent && t.shape[1] <= kMaxSampledExtent, op, "expected ", name,
        " of at most ", kMaxSampledExtent, " rows and columns, got shape ", shape_text(t));
  check(t.strides[1] == 1 || t.shape[1] == 1, op, "expected ", name, " with contiguous rows");
  return {t.as<const uint8_t>(), t.shape[0], t.shape[1], t.strides[0]};
}

// The mask of an image, where there is one.
inline PixelMask mask_view(const std::optional<py::array>& mask, const GreyImage& image, const char* op) {
  if (!mask) return {};
  const PixelMask m = grey_view(*mask, op, "mask");
  check(m.h == image.h && m.w == image.w, op, "expected mask of shape (", image.h, ", ", image.w, "), got (",
        m.h, ", ", m.w, ")");
  return m;
}

// (xy, size, angle, response, octave)
template <class K>
py::tuple keypoint_columns(const std::vector<K>& keypoints, const char* op) {
  const auto n = static_cast<int64_t>(keypoints.size());
  py::array_t<float> xy = empty<float>(op, {n, 2}), size = empty<float>(op, {n}),
                     angle = empty<float>(op, {n}), response = empty<float>(op, {n});
  py::array_t<int32_t> octave = empty<int32_t>(op, {n});
  for (int64_t i = 0; i < n; ++i) {
    const Keypoint& k = keypoints[static_cast<size_t>(i)];
    xy.mutable_data()[2 * i] = k.x;
    xy.mutable_data()[2 * i + 1] = k.y;
    size.mutable_data()[i] = k.size;
    angle.mutable_data()[i] = k.angle;
    response.mutable_data()[i] = k.response;
    octave.mutable_data()[i] = k.octave;
  }
  return py::make_tuple(xy, size, angle, response, octave);
}

}  // namespace pyvision

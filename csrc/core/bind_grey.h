// SPDX-License-Identifier: Apache-2.0
// Grey pictures and their masks from NumPy.
#pragma once

#include <vector>

#include "core/bind.h"
#include "core/grey_image.h"
#include "core/sampled_maps.h"

namespace pyvision {

// (h, w) whose pixels along a row are neighbours, not empty; extents that kernels may count in 32 bits.
inline void check_grey(const Tensor& t, const char* op, const char* name) {
  check(t.rank == 2, op, "expected ", name, " of shape (H, W), got ", shape_text(t));
  check(t.numel() > 0, op, "expected ", name, " with pixels, got shape ", shape_text(t));
  check(t.shape[0] <= kMaxSampledExtent && t.shape[1] <= kMaxSampledExtent, op, "expected ", name,
        " of at most ", kMaxSampledExtent, " rows and columns, got shape ", shape_text(t));
  check(t.strides[1] == 1 || t.shape[1] == 1, op, "expected ", name, " with contiguous rows");
}

inline GreyImage grey_view(const py::array& array, const char* op, const char* name) {
  const Tensor t = view<const uint8_t>(array, op, name);
  check_grey(t, op, name);
  return {t.as<const uint8_t>(), t.shape[0], t.shape[1], t.strides[0]};
}

// The same of uint8 or float32.
inline AnyImage any_image(const py::array& array, const char* op) {
  const bool floats = py::isinstance<py::array_t<float>>(array);
  const Tensor t = floats ? view<const float>(array, op, "image") : view<const uint8_t>(array, op, "image");
  check_grey(t, op, "image");
  return {floats ? nullptr : t.as<const uint8_t>(), floats ? t.as<const float>() : nullptr, t.shape[0],
          t.shape[1], t.strides[0]};
}

// The mask of an image, where there is one.
template <class Image>
PixelMask mask_view(const std::optional<py::array>& mask, const Image& image, const char* op) {
  if (!mask) return {};
  const PixelMask m = grey_view(*mask, op, "mask");
  check(m.h == image.h && m.w == image.w, op, "expected mask of shape (", image.h, ", ", image.w, "), got (",
        m.h, ", ", m.w, ")");
  return m;
}

// What all descriptors ask of a keypoint's angle: within a turn, negative where it is undefined.
inline void check_angle(float degrees, const char* op) {
  check(degrees >= -360 && degrees <= 360, op, "expected angles in [-360, 360], got ", degrees);
}

// Keypoints (n,) with places, sizes and angles.
inline std::vector<Keypoint> keypoints_view(const py::array& xy, const py::array& size,
                                            const py::array& angle, const char* op) {
  const Tensor at = dense_view<const float>(xy, op, "xy", 2);
  const int64_t n = at.shape[0];
  check(at.shape[1] == 2, op, "expected xy of shape (N, 2), got ", shape_text(at));
  const Tensor sizes = dense_view<const float>(size, op, "size", 1),
               angles = dense_view<const float>(angle, op, "angle", 1);
  check(sizes.shape[0] == n && angles.shape[0] == n, op, "expected size and angle of shape (", n, ",), got ",
        shape_text(sizes), " and ", shape_text(angles));
  std::vector<Keypoint> keypoints(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const float degrees = angles.as<const float>()[i];
    check_angle(degrees, op);
    keypoints[static_cast<size_t>(i)] = {at.as<const float>()[2 * i],
                                         at.as<const float>()[2 * i + 1],
                                         sizes.as<const float>()[i],
                                         degrees,
                                         0,
                                         0};
  }
  return keypoints;
}

// Compared as float: a position may lie beyond any integer, or be none.
template <class Image>
bool is_inside(const Image& image, const Keypoint& k) {
  return k.x >= 0 && k.y >= 0 && k.x < static_cast<float>(image.w) && k.y < static_cast<float>(image.h);
}

// Those that fit, and in which (n,) which they are.
template <class Fits>
std::vector<Keypoint> keep_keypoints(const std::vector<Keypoint>& given, bool* which, Fits fits) {
  std::vector<Keypoint> kept;
  for (size_t i = 0; i < given.size(); ++i) {
    which[i] = fits(given[i]);
    if (which[i]) kept.push_back(given[i]);
  }
  return kept;
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

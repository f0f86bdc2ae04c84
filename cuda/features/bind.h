// SPDX-License-Identifier: Apache-2.0
// Pictures, masks and what detectors have found, for the bindings of features.
#pragma once

#include <functional>

#include "common/bind.h"
#include "features/levels.cuh"

namespace pyvision::cuda {

// A detector and its picture; the output and the workspace are yet to be allocated by their framework.
struct Detection {
  std::string op;
  Stream stream;
  int64_t room;  // for keypoints
  size_t workspace_bytes;
  DType descriptor_type;
  int64_t descriptor_length;
  std::function<void(void* workspace, const KeypointColumns& keypoints, void* descriptors)> run;
};

// A detector in two steps, of which the first says how much memory the second takes. found: what it leaves
// there; room: of keypoints, at most as many as there are
struct Search {
  std::string op;
  Stream stream;
  size_t search_bytes;
  DType descriptor_type;
  int64_t descriptor_length;
  std::function<size_t(int64_t number)> put_bytes;
  std::function<void(void* found, int32_t* count)> search;
  std::function<void(void* found, int64_t number, void* workspace, const KeypointColumns& keypoints,
                     void* descriptors)>
      put;
};

// A descriptor at given keypoints. kept: (n,), which of them have one, in their order; then nothing is
// written.
struct Description {
  std::string op;
  Stream stream;
  int64_t n;
  size_t workspace_bytes;
  DType descriptor_type;
  int64_t descriptor_length;
  std::function<void(void* workspace, int64_t* kept, int32_t* count, void* descriptors)> run;
};

// Pixels are counted in 32 bits. Returns (h, w).
inline std::pair<int64_t, int64_t> checked_extents(const DeviceArray& image, const char* op) {
  const Tensor& t = image.tensor;
  check(t.rank == 2 || (t.rank == 3 && (t.shape[2] == 1 || t.shape[2] == 3 || t.shape[2] == 4)), op,
        "expected image of shape (H, W) or (H, W, 1, 3 or 4), got ", shape_text(t));
  check(t.numel() > 0 && t.shape[0] < (1 << 24) && t.shape[1] < (1 << 24) &&
            t.shape[0] * t.shape[1] < (int64_t{1} << 30),
        op, "expected image with pixels, fewer than 2^30 on CUDA, got shape ", shape_text(t));
  return {t.shape[0], t.shape[1]};
}

// (H, W) or (H, W, 1) bytes.
inline Level grey_level(const DeviceArray& image, const char* op, const Stream& stream) {
  const auto [h, w] = checked_extents(image, op);
  const std::vector<int64_t> grey = {h, w, 1}, shape(grey.begin(), grey.begin() + image.tensor.rank);
  Level level;
  level.data = static_cast<uint8_t*>(checked_data(image, op, "image", stream, DType::kU8, shape));
  level.h = static_cast<int32_t>(h), level.w = static_cast<int32_t>(w);
  return level;
}

// xy, size, angle, response, octave
inline KeypointColumns keypoint_columns(const std::vector<DeviceArray>& columns, const DeviceArray& count,
                                        int64_t room, const char* op, const Stream& stream) {
  check(columns.size() == 5, op, "expected 5 columns, got ", columns.size());
  const auto column = [&](size_t i, DType dtype, const std::vector<int64_t>& shape) {
    return checked_data(columns[i], op, "keypoints", stream, dtype, shape);
  };
  return {static_cast<float*>(column(0, DType::kF32, {room, 2})),
          static_cast<float*>(column(1, DType::kF32, {room})),
          static_cast<float*>(column(2, DType::kF32, {room})),
          static_cast<float*>(column(3, DType::kF32, {room})),
          static_cast<int32_t*>(column(4, DType::kI32, {room})),
          static_cast<int32_t*>(checked_data(count, op, "count", stream, DType::kI32, {1})),
          room};
}

inline GivenKeypoints given_keypoints(const DeviceArray& xy, const DeviceArray& size,
                                      const DeviceArray& angle, const OptionalArray& octave, const char* op,
                                      const Stream& stream) {
  GivenKeypoints given;
  given.xy = static_cast<float*>(checked_data(xy, op, "xy", stream, DType::kF32, {-1, 2}));
  given.n = xy.tensor.shape[0];
  check(given.n < (int64_t{1} << 30), op, "expected fewer than 2^30 keypoints, got ", given.n);
  given.size = static_cast<float*>(checked_data(size, op, "size", stream, DType::kF32, {given.n}));
  given.angle = static_cast<float*>(checked_data(angle, op, "angle", stream, DType::kF32, {given.n}));
  given.octave = data_or_null<const int32_t>(octave, op, "octave", stream, DType::kI32, {given.n});
  return given;
}

// (H, W) or (H, W, 1), bytes or floats; fewer than 2^26 pixels: those of all layers are counted in 32 bits.
struct AnyPicture {
  const void* data;
  bool floats;
  int32_t h, w;
};
inline AnyPicture any_picture(const DeviceArray& image, const char* op, const Stream& stream) {
  const auto [h, w] = checked_extents(image, op);
  check(h * w < (int64_t{1} << 26), op, "expected image of fewer than 2^26 pixels on CUDA, got (", h, ", ", w,
        ")");
  const bool floats = image.tensor.dtype == DType::kF32;
  const std::vector<int64_t> grey = {h, w, 1}, shape(grey.begin(), grey.begin() + image.tensor.rank);
  return {checked_data(image, op, "image", stream, floats ? DType::kF32 : DType::kU8, shape), floats,
          static_cast<int32_t>(h), static_cast<int32_t>(w)};
}

inline Allowed allowed_in(const OptionalArray& mask, const Level& picture, const char* op,
                          const Stream& stream) {
  if (!mask) return {};
  const DType dtype = mask->tensor.dtype == DType::kBool ? DType::kBool : DType::kU8;
  const std::vector<int64_t> shape = {picture.h, picture.w};
  return {static_cast<const uint8_t*>(checked_data(*mask, op, "mask", stream, dtype, shape)), picture.h,
          picture.w};
}

}  // namespace pyvision::cuda

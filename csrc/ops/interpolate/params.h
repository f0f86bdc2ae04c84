// SPDX-License-Identifier: Apache-2.0
// The parameters of interpolate.h, without its CPU kernels.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace pyvision {

enum class InterpolateMode : uint8_t { kNearest, kNearestExact, kBilinear, kBicubic, kArea };

// Name as in torch; throws std::invalid_argument for others.
InterpolateMode parse_interpolate_mode(const char* op, const std::string& name);

struct InterpolateParams {
  InterpolateMode mode = InterpolateMode::kNearest;
  bool align_corners = false;       // bilinear and bicubic only
  bool antialias = false;           // bilinear and bicubic only
  double scale_h = 0, scale_w = 0;  // output / input as the caller stated it; 0: from the extents
};

// Whether the filter is none of nearest's and bilinear's, which read two pixels along an axis at most.
inline bool is_wide(const InterpolateParams& params) {
  return params.antialias || params.mode == InterpolateMode::kBicubic ||
         params.mode == InterpolateMode::kArea;
}

// Throws std::invalid_argument where they contradict each other. size: of the output
InterpolateParams interpolate_params(const char* op, const std::array<int64_t, 2>& size,
                                     const std::string& mode, bool align_corners, bool antialias,
                                     const std::array<double, 2>& scale);

// s and t of interpolate.h, in T's arithmetic as torch's. stated_scale: output / input or 0
template <class T = float>
T interpolate_step(const InterpolateParams& params, double stated_scale, int64_t in, int64_t out) {
  if (params.align_corners) return out > 1 ? static_cast<T>(in - 1) / static_cast<T>(out - 1) : T(0);
  const bool is_nearest = params.mode == InterpolateMode::kNearest;
  if (out == in && (is_nearest || params.mode == InterpolateMode::kBilinear || params.antialias)) return T(1);
  if (out == 2 * in && is_nearest) return T(0.5);
  if (stated_scale > 0) return static_cast<T>(1.0 / stated_scale);
  return static_cast<T>(in) / static_cast<T>(out);
}

}  // namespace pyvision

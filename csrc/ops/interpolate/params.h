// SPDX-License-Identifier: Apache-2.0
// The parameters of interpolate.h, without its CPU kernels.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace pyvision {

enum class InterpolateMode : uint8_t { kNearest, kNearestExact, kBilinear };

// Name as in torch; throws std::invalid_argument for others.
InterpolateMode parse_interpolate_mode(const char* op, const std::string& name);

struct InterpolateParams {
  InterpolateMode mode = InterpolateMode::kNearest;
  bool align_corners = false;       // bilinear only
  double scale_h = 0, scale_w = 0;  // output / input as the caller stated it; 0: from the extents
};

// Throws std::invalid_argument where they contradict each other. size: of the output
InterpolateParams interpolate_params(const char* op, const std::array<int64_t, 2>& size,
                                     const std::string& mode, bool align_corners,
                                     const std::array<double, 2>& scale);

// s and t of interpolate.h, in f32 arithmetic as torch's. stated_scale: output / input or 0
float interpolate_step(const InterpolateParams& params, double stated_scale, int64_t in, int64_t out);

}  // namespace pyvision

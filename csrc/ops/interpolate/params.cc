// SPDX-License-Identifier: Apache-2.0
// What the parameters must fulfil, on whatever device it runs.
#include "ops/interpolate/params.h"

#include <cmath>

#include "core/check.h"

namespace pyvision {

InterpolateMode parse_interpolate_mode(const char* op, const std::string& name) {
  if (name == "nearest") return InterpolateMode::kNearest;
  if (name == "nearest-exact") return InterpolateMode::kNearestExact;
  check(name == "bilinear", op, "expected mode to be one of nearest, nearest-exact, bilinear, got '", name,
        "'");
  return InterpolateMode::kBilinear;
}

InterpolateParams interpolate_params(const char* op, const std::array<int64_t, 2>& size,
                                     const std::string& mode, bool align_corners,
                                     const std::array<double, 2>& scale) {
  check(size[0] >= 1 && size[1] >= 1, op, "expected an output of at least 1 x 1 pixels, got ",
        shape_text(size.data(), 2));
  InterpolateParams params;
  params.mode = parse_interpolate_mode(op, mode);
  params.align_corners = align_corners;
  params.scale_h = scale[0], params.scale_w = scale[1];
  check(!align_corners || params.mode == InterpolateMode::kBilinear, op,
        "expected align_corners with mode 'bilinear' only, got mode '", mode, "'");
  check(std::isfinite(scale[0]) && scale[0] >= 0 && std::isfinite(scale[1]) && scale[1] >= 0, op,
        "expected finite, positive scale factors, got (", scale[0], ", ", scale[1], ")");
  return params;
}

float interpolate_step(const InterpolateParams& params, double stated_scale, int64_t in, int64_t out) {
  if (params.align_corners) return out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1) : 0.0f;
  if (stated_scale > 0) return static_cast<float>(1.0 / stated_scale);
  return static_cast<float>(in) / static_cast<float>(out);
}

}  // namespace pyvision

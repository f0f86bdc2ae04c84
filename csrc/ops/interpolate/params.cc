// SPDX-License-Identifier: Apache-2.0
// What the parameters must fulfil, on whatever device it runs.
#include "ops/interpolate/params.h"

#include <cmath>

#include "core/check.h"

namespace pyvision {

InterpolateMode parse_interpolate_mode(const char* op, const std::string& name) {
  if (name == "nearest") return InterpolateMode::kNearest;
  if (name == "nearest-exact") return InterpolateMode::kNearestExact;
  if (name == "bilinear") return InterpolateMode::kBilinear;
  if (name == "bicubic") return InterpolateMode::kBicubic;
  check(name == "area", op,
        "expected mode to be one of nearest, nearest-exact, bilinear, bicubic, area, got '", name, "'");
  return InterpolateMode::kArea;
}

InterpolateParams interpolate_params(const char* op, const std::array<int64_t, 2>& size,
                                     const std::string& mode, bool align_corners, bool antialias,
                                     const std::array<double, 2>& scale) {
  check(size[0] >= 1 && size[1] >= 1, op, "expected an output of at least 1 x 1 pixels, got ",
        shape_text(size.data(), 2));
  InterpolateParams params;
  params.mode = parse_interpolate_mode(op, mode);
  params.align_corners = align_corners;
  params.antialias = antialias;
  params.scale_h = scale[0], params.scale_w = scale[1];
  const bool linear = params.mode == InterpolateMode::kBilinear || params.mode == InterpolateMode::kBicubic;
  check(linear || !align_corners, op,
        "expected align_corners with mode 'bilinear' or 'bicubic' only, got mode '", mode, "'");
  check(linear || !antialias, op, "expected antialias with mode 'bilinear' or 'bicubic' only, got mode '",
        mode, "'");
  check(std::isfinite(scale[0]) && scale[0] >= 0 && std::isfinite(scale[1]) && scale[1] >= 0, op,
        "expected finite, positive scale factors, got (", scale[0], ", ", scale[1], ")");
  return params;
}

}  // namespace pyvision

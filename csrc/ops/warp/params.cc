// SPDX-License-Identifier: Apache-2.0
#include "ops/warp/params.h"

#include "core/check.h"

namespace pyvision {

WarpMode parse_warp_mode(const char* op, const std::string& name) {
  if (name == "nearest") return WarpMode::kNearest;
  if (name == "bilinear") return WarpMode::kBilinear;
  check(name == "bicubic", op, "expected interpolation to be one of nearest, bilinear, bicubic, got '", name,
        "'");
  return WarpMode::kBicubic;
}

BorderMode parse_border_mode(const char* op, const std::string& name) {
  if (name == "constant") return BorderMode::kConstant;
  if (name == "replicate") return BorderMode::kReplicate;
  if (name == "reflect") return BorderMode::kReflect;
  if (name == "reflect_101") return BorderMode::kReflect101;
  check(name == "wrap", op,
        "expected border_mode to be one of constant, replicate, reflect, reflect_101, wrap, got '", name,
        "'");
  return BorderMode::kWrap;
}

GridMode parse_grid_mode(const char* op, const std::string& name) {
  if (name == "nearest") return GridMode::kNearest;
  if (name == "bilinear") return GridMode::kBilinear;
  check(name == "bicubic", op, "expected mode to be one of bilinear, nearest, bicubic, got '", name, "'");
  return GridMode::kBicubic;
}

GridPadding parse_grid_padding(const char* op, const std::string& name) {
  if (name == "zeros") return GridPadding::kZeros;
  if (name == "border") return GridPadding::kBorder;
  check(name == "reflection", op, "expected padding_mode to be one of zeros, border, reflection, got '", name,
        "'");
  return GridPadding::kReflection;
}

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// The parameters of warp.h and grid_sample.h, without their CPU kernels.
#pragma once

#include <cstdint>
#include <string>

namespace pyvision {

enum class WarpMode : uint8_t { kNearest, kBilinear, kBicubic };
enum class BorderMode : uint8_t { kConstant, kReplicate, kReflect, kReflect101, kWrap };

// Throw std::invalid_argument for other names than the above.
WarpMode parse_warp_mode(const char* op, const std::string& name);
BorderMode parse_border_mode(const char* op, const std::string& name);

struct WarpParams {
  WarpMode mode = WarpMode::kBilinear;
  BorderMode border = BorderMode::kConstant;
};

enum class GridMode : uint8_t { kNearest, kBilinear, kBicubic };
enum class GridPadding : uint8_t { kZeros, kBorder, kReflection };

GridMode parse_grid_mode(const char* op, const std::string& name);
GridPadding parse_grid_padding(const char* op, const std::string& name);

struct GridSampleParams {
  GridMode mode = GridMode::kBilinear;
  GridPadding padding = GridPadding::kZeros;
  bool align_corners = false;
};

}  // namespace pyvision

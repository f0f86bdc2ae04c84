// SPDX-License-Identifier: Apache-2.0
// The extents of pixel_shuffle.h, without its CPU kernels.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace pyvision {

struct PixelShuffle {
  int64_t n, channels, h, w;  // channels of the fine map, extents of the coarse one
  int64_t factor;
  bool planar;  // both NCHW, else both NHWC

  // Of either map, in its layout.
  std::vector<int64_t> coarse_shape() const { return shape_of(channels * factor * factor, h, w); }
  std::vector<int64_t> fine_shape() const { return shape_of(channels, h * factor, w * factor); }

 private:
  std::vector<int64_t> shape_of(int64_t c, int64_t height, int64_t width) const {
    if (planar) return {n, c, height, width};
    return {n, height, width, c};
  }
};

// Of an input of these extents, in either layout, which is the coarse map where to_fine. Throws
// std::invalid_argument where the factor does not fit them.
PixelShuffle pixel_shuffle_params(const char* op, const std::array<int64_t, 4>& shape, int64_t factor,
                                  bool planar, bool to_fine);

}  // namespace pyvision

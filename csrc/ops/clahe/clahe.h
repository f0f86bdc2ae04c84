// SPDX-License-Identifier: Apache-2.0
// clahe: contrast-limited adaptive histogram equalisation, as OpenCV's.
//
// The picture is cut into tiles_h x tiles_w tiles; where its extents are no multiples of these it is mirrored
// beyond its right and lower edges. A tile's histogram is cut off at `clip` times its mean, what was cut off
// is spread over all levels, and its running sum is the tile's table. A pixel is looked up in the tables of
// the four tiles whose centres surround it, and these are blended bilinearly. Zuiderveld, "Contrast limited
// adaptive histogram equalization", Graphics Gems IV, 1994.
#pragma once

#include "core/dispatch.h"
#include "core/grey_image.h"

namespace pyvision {

struct ClaheKernels {
  const char* isa;
  // n pixels of a row through four tables and blended. quads: (256,) a level in the tables of the upper left,
  // upper right, lower left and lower right tile, a byte each, from the lowest; across: (n,) the weights of
  // those on the right, down: of those below
  void (*look_up)(const uint8_t* x, const int32_t* quads, const float* across, float down, int64_t n,
                  uint8_t* y);
};

PYVISION_KERNELS(ClaheKernels, clahe)

struct ClaheParams {
  float clip = 40;  // 0: not limited
  int64_t tiles_h = 8, tiles_w = 8;
};

// y: (h, w) dense
void clahe(const GreyImage& x, const ClaheParams& params, uint8_t* y);

}  // namespace pyvision

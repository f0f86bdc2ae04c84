// SPDX-License-Identifier: Apache-2.0
// brisk: Leutenegger, Chli and Siegwart, "BRISK: Binary Robust Invariant Scalable Keypoints", ICCV 2011.
//
//   layers     the picture at 1, 2/3, 1/2, 1/3, 1/4, ... of its size: octaves and between them intra-octaves
//   keypoints  FAST 9-16 corners of a layer that no neighbour exceeds, in the layer nor where their pixel
//   lies in
//              the layers above and below. Equal neighbours: the one whose surroundings score higher
//   place      the maximum of a parabola fitted to 3 x 3 scores, in all three layers; a parabola through
//   these
//              maxima gives the scale, between the layers, where the place is interpolated. Below the first
//              layer counts the greatest of 3 x 3 FAST 5-8 scores of the picture itself
//   pattern    60 points on circles of 0, 2.9, 4.9, 7.4, 10.8 times 0.85 t, where t is the size over 7.2: 1,
//   10,
//              14, 15, 20 of them. A point is the mean over a square of half side 1.3 r sin(pi / n), or
//              of 1.3 t / 2 in the middle: at least a pixel
//   angle      the direction of the sum of (I_i - I_j) (p_i - p_j) / |p_i - p_j|^2 over the 870 pairs that
//   are
//              more than 8.2 t apart
//   descriptor 512 bits I_i > I_j of the pairs less than 5.85 t apart, i rising, then j < i; the lowest bit
//   of
//              a byte first
//
// The pattern is the paper's; its numbers, 12 as the size of a corner in the picture, and the steps above are
// OpenCV's.
#pragma once

#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "core/dispatch.h"
#include "ops/brisk/params.h"
#include "ops/grey_filters/integral_image.h"

namespace pyvision {

struct BriskPlace {
  float x, y, t, cosine, sine;
};

struct BriskKernels {
  const char* isa;
  // The means of the pattern's points; the pattern lies in the picture. values: (kBriskPadded,)
  void (*smooth)(const IntegralImage& image, const BriskPattern& pattern, const BriskPlace& place,
                 float* values);
};

PYVISION_KERNELS(BriskKernels, brisk)

// By falling response, equal ones by layer, row and column. Angles are not looked for.
std::vector<Keypoint> brisk_detect(const GreyImage& image, const BriskParams& params, const PixelMask& mask);

// Whether the pattern around a keypoint lies in the picture.
bool brisk_fits(const IntegralImage& image, const Keypoint& keypoint);

// keypoints: (n,) that fit; where the angle is -1 it is found. descriptors: (n, 64), or nullptr
void brisk_describe(const IntegralImage& image, Keypoint* keypoints, int64_t n, uint8_t* descriptors);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// orb: Rublee, Rabaud, Konolige and Bradski, "ORB: an efficient alternative to SIFT or SURF", ICCV 2011, with
// the details of OpenCV's.
//
//   levels      l in [0, levels): the image resized to round(extent / scale^l), each from the one before
//   features    of level l a share of max_features that falls as scale^-l
//   detection   FAST 9-16 with suppression, `edge` or more pixels inside the level; twice the level's share
//   by
//               score, those of the last score all included; of these its share by Harris response, equal
//               ones row by row from the left
//   response    (xx yy - xy^2 - k (xx + yy)^2) / (4 * 7 * 255)^4, k = 0.04, the sums xx, yy, xy of products
//   of
//               3 x 3 Sobel gradients over 7 x 7 pixels
//   angle       atan2 of the moments sum y I, sum x I over a disc of radius 15
//   descriptor  brief with the published 256 pairs, turned by the angle
//
// Keypoints stand by level, then by falling response. Positions are level pixels times scale^l.
#pragma once

#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "core/dispatch.h"
#include "core/grey_image.h"
#include "ops/orb/params.h"

namespace pyvision {

struct OrbKernels {
  const char* isa;
  // pixel: 4 pixels or more from the left, upper and lower border, 5 from the right one
  float (*harris)(const uint8_t* pixel, int64_t stride);
  // sum x I and sum y I; pixel: 15 pixels or more from the border, 16 from the right one
  void (*moments)(const uint8_t* pixel, int64_t stride, int32_t* m10, int32_t* m01);
};

PYVISION_KERNELS(OrbKernels, orb)

// The image and its smaller copies, as far as there is anything left of them.
class OrbPyramid {
 public:
  OrbPyramid(const GreyImage& image, const OrbParams& params);

  int64_t levels() const { return static_cast<int64_t>(levels_.size()); }
  const GreyImage& level(int64_t l) const { return levels_[static_cast<size_t>(l)]; }
  float scale(int64_t l) const { return params_.scale_of(l); }

 private:
  OrbParams params_;
  std::vector<GreyImage> levels_;
  std::vector<AlignedBuffer> memory_;
};

std::vector<Keypoint> orb_detect(const OrbPyramid& pyramid, const OrbParams& params, const PixelMask& mask);

// Whether a keypoint's patch lies in its level: only then it has a descriptor.
bool orb_fits(const OrbPyramid& pyramid, const Keypoint& keypoint);

// keypoints: (n,), each fits and has an octave in the pyramid; descriptors: (n, 32)
void orb_describe(const OrbPyramid& pyramid, const Keypoint* keypoints, int64_t n, uint8_t* descriptors);

}  // namespace pyvision

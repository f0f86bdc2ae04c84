// SPDX-License-Identifier: Apache-2.0
// brief: binary descriptors. Bit i of a keypoint's descriptor, the lowest of a byte first, is
//
//   I(p + R a_i) < I(p + R b_i)
//
// where I is the image blurred by blur_grey, p the keypoint's pixel, (a_i, b_i) a fixed list of pairs of
// points in a patch of 31 x 31 pixels, and R the rotation by the keypoint's angle, or none. Rotated points
// are rounded to pixels, half to even.
//
// Calonder, Lepetit, Strecha and Fua, "BRIEF: Binary Robust Independent Elementary Features", ECCV 2010;
// steered as in Rublee, Rabaud, Konolige and Bradski, "ORB: an efficient alternative to SIFT or SURF", ICCV
// 2011.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "core/grey_image.h"
#include "ops/brief/params.h"

namespace pyvision {

struct BriefKernels {
  const char* isa;
  // center: the keypoint's pixel; pattern: (4, tests) coordinates ax, ay, bx, by; tests: a multiple of 16;
  // descriptor: (tests / 8,)
  void (*describe)(const uint8_t* center, int64_t stride, const float* pattern, int64_t tests, float cosine,
                   float sine, uint8_t* descriptor);
};

PYVISION_KERNELS(BriefKernels, brief)

struct BriefTests {
  const float* pattern;  // (4, tests)
  int64_t tests;
};

// A keypoint's place in its level of the pyramid.
struct BriefPoint {
  int32_t x, y;
  float angle;  // degrees
};

// Whether the patch around (x, y) lies in the image, however it is turned.
inline bool brief_fits(const GreyImage& image, int64_t x, int64_t y) {
  return x >= kBriefReach && y >= kBriefReach && x < image.w - kBriefReach && y < image.h - kBriefReach;
}

// blurred: the image after blur_grey
void brief(const GreyImage& blurred, const BriefPoint& point, const BriefTests& tests, uint8_t* descriptor);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// fast: the corners of "Faster and better: a machine learning approach to corner detection" (Rosten, Porter
// and Drummond, PAMI 2010). A pixel v is a corner when on a circle of N pixels around it more than half, L =
// N / 2 + 1 neighbours, are all brighter than v + threshold or all darker than v - threshold.
//
//         . 1 1 1 .          N = 16, L = 9, radius 3: "9-16"
//       1 . . . . . 1        N = 12, L = 7, radius 2: "7-12"
//       1 . . v . . 1        N =  8, L = 5, radius 1: "5-8"
//       1 . . . . . 1
//         . 1 1 1 .          (and the four diagonal pixels between)
//
// A corner's score is the greatest threshold at which it still is one: M - 1, where
//   M = max over both signs and the N arcs of L neighbours p of  min over the arc of  +-(p - v).
// With suppression a corner stays when its score exceeds that of all eight neighbours; pixels that are no
// corners count as 0. Only pixels at least three from the border are looked at, whatever the circle. Results
// stand row by row, each from the left. All of this is OpenCV's, whose 7-12 and 5-8 however miss corners.
#pragma once

#include <cstdint>
#include <vector>

#include "core/dispatch.h"
#include "core/grey_image.h"
#include "ops/fast/ring.h"

namespace pyvision {

struct FastKernels {
  const char* isa;
  // scores[x] = M where that is greater than the threshold, else 0, for x in [3, width - 3), and whether
  // there is any; circle: 16, 12 or 8
  bool (*score)(int circle, const uint8_t* row, int64_t stride, int64_t width, uint8_t threshold,
                uint8_t* scores);
  // The columns of the row's corners, and how many: all, or where there are neighbours' rows those left by
  // suppression.
  int64_t (*list)(const uint8_t* above, const uint8_t* row, const uint8_t* below, int64_t width,
                  int32_t* columns);
};

PYVISION_KERNELS(FastKernels, fast)

struct FastParams {
  int circle = 16;
  uint8_t threshold = 20;
  bool suppress = true;
};

struct FastCorner {
  int32_t x, y;
  uint8_t score;
};

// Rows [begin, end) of the image; appends to `corners`.
void fast_rows(const GreyImage& image, const FastParams& params, int64_t begin, int64_t end,
               std::vector<FastCorner>* corners);

// How many rows to look at in one go: enough to hide the two looked at twice, few enough to share out.
constexpr int64_t kFastRows = 48;

std::vector<FastCorner> fast(const GreyImage& image, const FastParams& params);

}  // namespace pyvision

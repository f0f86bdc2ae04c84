// SPDX-License-Identifier: Apache-2.0
// corners: where the picture changes in every direction. With Sobel derivatives dx, dy of grey in [0, 1],
// divided by 4 times the block's side, and sums over the block around a pixel
//
//   a = sum dx dx    b = sum dx dy    c = sum dy dy          (the mirrored picture goes on beyond its border)
//
// the response is  a c - b^2 - k (a + c)^2                      Harris and Stephens, "A combined corner and
//                                                               edge detector", Alvey Vision Conference 1988
//              or  (a + c) / 2 - sqrt((a - c)^2 / 4 + b^2)      the lesser eigenvalue: Shi and Tomasi, "Good
//                                                               features to track", CVPR 1994
//
// Corners are pixels off the border that are positive, no less than their eight neighbours, and greater than
// `quality` times the greatest response; they stand by falling response, equal ones by rows, and each lies
// min_distance or more from all before it. These are OpenCV's cornerHarris, cornerMinEigenVal and
// goodFeaturesToTrack.
#pragma once

#include <cstdint>
#include <vector>

#include "core/dispatch.h"
#include "core/grey_image.h"

namespace pyvision {

constexpr int64_t kMaxCornerBlock = 31;

struct CornersKernels {
  const char* isa;
  // xx, xy, yy: (n,) products of the derivatives at row[0 .. n); all rows one longer at both ends
  void (*products)(const float* above, const float* row, const float* below, int64_t n, float* xx, float* xy,
                   float* yy);
  // y[x] = sum_i rows[i][x]
  void (*sum_rows)(const float* const* rows, int64_t count, int64_t n, float* y);
  // From column sums with block - 1 more behind the last. harris: k, or nullptr for the lesser eigenvalue.
  // Returns the greatest response.
  float (*respond)(const float* xx, const float* xy, const float* yy, int64_t block, float scale,
                   const float* harris, int64_t n, float* y);
  // Columns in [1, n - 1) that are positive and no less than their neighbours, and how many.
  int64_t (*maxima)(const float* above, const float* row, const float* below, int64_t n, int32_t* columns);
};

PYVISION_KERNELS(CornersKernels, corners)

struct CornerParams {
  bool harris = true;
  float k = 0.04f;
  int64_t block = 3;  // [1, kMaxCornerBlock]
};

struct Corner {
  float x, y, response;
};

// y: (h, w) dense
void corner_response(const AnyImage& image, const CornerParams& params, float* y);

// most: 0 for all
std::vector<Corner> find_corners(const AnyImage& image, const CornerParams& params, double quality,
                                 const PixelMask& mask, double min_distance, int64_t most);

// Foerstner and Guelch, "A fast operator for detection and precise location of distinct points, corners and
// centres of circular features", ISPRS 1987, as OpenCV's cornerSubPix: p moves to where the gradients of the
// (2 window + 1)^2 pixels around it are orthogonal to the way there, least squares weighted by
// exp(-(x^2 + y^2) / window^2), up to max_iterations times or until it moves by epsilon or less. One that
// leaves its window stays where it was. xy: (n, 2), inside the picture
void refine_corners(const AnyImage& image, int64_t window, int64_t max_iterations, double epsilon, float* xy,
                    int64_t n);

// Which points of xy (n, 2) stay when each must lie `distance` or more from all that stay before it; stops
// at `most`.
std::vector<int64_t> keep_apart(const float* xy, int64_t n, double distance, int64_t most);
// `count` of them as far apart as that many can be: the distance is found by bisection, as in Bailo, Rameau,
// Joo, Park, Bogdan and Kweon, "Efficient adaptive non-maximal suppression algorithms for homogeneous
// spatial keypoint distribution", Pattern Recognition Letters 2018.
std::vector<int64_t> keep_even(const float* xy, int64_t n, int64_t count);

}  // namespace pyvision

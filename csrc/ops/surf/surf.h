// SPDX-License-Identifier: Apache-2.0
// surf: Bay, Ess, Tuytelaars and Van Gool, "Speeded-Up Robust Features (SURF)", CVIU 2008, with the
// descriptor's overlapping windows of Agrawal, Konolige and Blas, "CenSurE", ECCV 2008.
//
//   filters    boxes in place of second derivatives of a Gaussian; a filter of side L has lobes of l = L / 3
//
//                xx:  +1 -2 +1 side by side, each l wide and 2 l - 1 high      yy:  the same, turned
//                xy:  four squares of side l around the middle row and column, + - over - +
//
//   response   (xx yy - (0.9 xy)^2) / (l (2 l - 1))^2 of grey in [0, 255], where the filter lies in the
//   picture octaves    L =  9 15 21 27,  15 27 39 51,  27 51 75 99,  51 99 147 195  at every 1st, 2nd, 4th,
//   8th pixel keypoints  responses above the threshold and no less than their 26 neighbours, moved to the
//   extremum of
//              the parabola through these where that lies within one step; size L, the scale s = 1.2 L / 9
//   angle      Haar wavelets of side 4 s at the points within 6 s, one s apart, weighted by a Gaussian of 2.5
//   s:
//              the longest sum over a window of 12 of 72 directions
//   descriptor wavelets of side 2 s at 24 x 24 points, one s apart and turned by the angle; 4 x 4 windows of
//              9 x 9 of them, five apart, weighted by a Gaussian of 2.5 s and as a whole by one of 1.5
//              windows; of each the sums dx, dy, |dx|, |dy|, or with 128 values dx, |dx| where dy >= 0, where
//              dy < 0, dy, |dy| where dx >= 0, where dx < 0; all of them a unit vector
//
// Keypoints stand by falling response, equal ones by octave, layer, row and column.
#pragma once

#include <cstdint>
#include <vector>

#include "core/dispatch.h"
#include "ops/grey_filters/integral_image.h"

namespace pyvision {

constexpr int64_t kSurfOctaves = 4, kSurfLayers = 4, kSurfGrid = 24, kSurfCell = 9, kSurfCells = 4;
constexpr int64_t kSurfPoints = kSurfGrid * kSurfGrid;
constexpr int64_t kSurfAnglePoints = 113, kSurfDirections = 72;
constexpr int64_t kMaxSurfLobe = 65;
// A tile of an octave's grid: what of the integral image one row needs is still near when the next one does
constexpr int64_t kSurfTileRows = 64, kSurfTileColumns = 1024;

// A keypoint's surroundings. Wavelets have the side 2 half.
struct SurfWindow {
  const IntegralImage* image;
  float x, y, scale, cosine, sine;
  int32_t half;
  bool is_inside;  // all wavelets lie in the picture
};

struct SurfWeights {
  float angle_u[kSurfAnglePoints], angle_v[kSurfAnglePoints], angle[kSurfAnglePoints];  // points in scales
  float grid_u[kSurfPoints], grid_v[kSurfPoints];                                       // likewise
  float cell[kSurfCell];  // of a row or a column, whose product is a point's
  float cells[kSurfCells][kSurfCells];
};

// The columns in [first, last) where a response is above the threshold and no less than its 26 neighbours.
struct SurfPeaks {
  int64_t first, last;
  int64_t count = 0;
  int32_t columns[kSurfTileColumns];
};

struct SurfKernels {
  const char* isa;
  // out[i], i in [0, n): the response at column (first + i) 2^octave of the rows, which are those of the
  // integral image that lie -r, 1 - l, -l, -h, 0, 1, h + 1, l, l + 1, r + 1 from the filter's middle;
  // l = 2 h + 1, r = l + h; of octaves behind the first only the last two layers. The filters lie in the
  // picture; n is at most kSurfTileColumns + 2. Up to 15 values before these and behind them are overwritten.
  void (*respond)(const int32_t* const rows[10], int64_t l, int64_t octave, int64_t first, int64_t n,
                  float unit, float* out);
  // out[i] = row[2 i], i in [0, n); the row is read up to 48 values behind the last of these
  void (*halve)(const float* row, int64_t n, float* out);
  // Of the second and the third layer of three rows each: the peaks of the middle one. The first list's
  // columns are the second's and more; there are 16 values before them, and 32 behind.
  void (*peaks)(const float* const rows[kSurfLayers][3], float threshold, SurfPeaks lists[2]);
  // The sums (dx, dy) of wavelets over the window of directions where they are longest
  void (*orient)(const SurfWindow& window, const SurfWeights& weights, float* dx, float* dy);
  // values: (64,), or where it is extended (128,), before normalisation
  void (*describe)(const SurfWindow& window, const SurfWeights& weights, bool extended, float* values);
};

PYVISION_KERNELS(SurfKernels, surf)

struct SurfParams {
  double threshold = 100;
  int64_t octaves = kSurfOctaves;
  int64_t max_features = 0;  // 0: all
};

struct SurfImage {
  IntegralImage integral;
  float unit;  // of one grey level
};

SurfImage surf_image(const AnyImage& image, int32_t* memory);
// Without angles
std::vector<Keypoint> surf_detect(const SurfImage& image, const SurfParams& params, const PixelMask& mask);
// keypoints: (n,), finite and with a size; angles in degrees, 0 where there is none, unless `orient` gives
// them. descriptors: (n, 64 or 128), or nullptr for angles alone: what a keypoint's angle has read of the
// picture its descriptor finds in the cache.
void surf_describe(const SurfImage& image, Keypoint* keypoints, int64_t n, bool orient, bool extended,
                   float* descriptors);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// homography: the plane transform that takes points src to points dst, (x, y) each, where some of the pairs
// may be wrong.
//
//   (u, v) ~ H (x, y, 1)      projective: 8 degrees of freedom, 4 pairs decide; affine: 6 and 3
//   error of a pair           its distance in dst, |(u', v') - (u, v)|; an inlier's is at most the threshold
//
// RANSAC with local optimisation: transforms of random smallest samples are scored by their inliers, eight at
// a time; one with more inliers than any before is fitted to them all by least squares, again and again as
// long as it gains any. It ends when, at the share of inliers found, a sample without outliers would have
// come with the given confidence. The result is the best one's least-squares fit to its inliers.
//
// Least squares is that of the errors above: affine in closed form; projective by Levenberg-Marquardt,
// without a sample to start from on the normalised direct linear transform (Hartley and Zisserman, "Multiple
// View Geometry", 4.4). Coordinates are moved and scaled first, so that neither their origin nor their unit
// matters.
//
// Fischler and Bolles, "Random sample consensus", CACM 1981; Chum, Matas and Kittler, "Locally optimized
// RANSAC", DAGM 2003. The same seed gives the same result on every instruction set.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "ops/homography/params.h"

namespace pyvision {

// Pairs as columns, so that neighbours are in neighbouring lanes.
struct PointColumns {
  const float *x, *y, *u, *v;  // (n,)
  int64_t n;
};

struct HomographyKernels {
  const char* isa;
  // How many pairs each transform takes to within the root of limit. transforms: (kHypotheses, 9)
  void (*count)(const PointColumns& points, const float* transforms, float limit, int64_t* counts);
};

PYVISION_KERNELS(HomographyKernels, homography)

// src, dst: (n, 2), finite; inliers: (n,). Returns whether there is one: not where the pairs are too few or
// lie on a line.
bool find_transform(const double* src, const double* dst, int64_t n, const RansacParams& params,
                    PlaneTransform* transform, uint8_t* inliers);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
#include "ops/homography/homography.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "ops/homography/plane.h"

namespace pyvision {
namespace {

Normalisation normalisation_of(const double* points, int64_t n) {
  Normalisation result = {};
  for (int64_t i = 0; i < n; ++i) {
    result.cx += points[2 * i] / static_cast<double>(n);
    result.cy += points[2 * i + 1] / static_cast<double>(n);
  }
  double distance = 0;
  for (int64_t i = 0; i < n; ++i)
    distance += std::hypot(points[2 * i] - result.cx, points[2 * i + 1] - result.cy) / static_cast<double>(n);
  result.scale = scale_of(distance);
  return result;
}

// Normalised pairs, all of them selected at first.
class Points {
 public:
  Points(std::vector<Pair> pairs, double threshold)
      : pairs_(std::move(pairs)),
        selected_(pairs_),
        limit_(threshold * threshold),
        columns_(4 * pairs_.size()) {
    for (int64_t i = 0; i < size(); ++i) {
      const Pair& p = pairs_[static_cast<size_t>(i)];
      const double values[] = {p.x, p.y, p.u, p.v};
      for (int c = 0; c < 4; ++c)
        columns_[static_cast<size_t>(c * size() + i)] = static_cast<float>(values[c]);
    }
  }

  int64_t size() const { return static_cast<int64_t>(pairs_.size()); }
  const Pair& operator[](int64_t i) const { return pairs_[static_cast<size_t>(i)]; }
  bool takes(const PlaneTransform& transform, int64_t i) const {
    return squared_error(transform, (*this)[i]) <= limit_;
  }

  template <int kCount, class Add>
  void sum(double (&sums)[kCount], const Add& add) const {
    stop_if_interrupted();  // of millions of pairs a pass takes a while
    for (const Pair& p : selected_) add(p, sums);
  }
  template <int kCount, class Work>
  void once(double (&result)[kCount], const Work& work) const {
    work(result);
  }
  int64_t select(const PlaneTransform& transform) {
    selected_.clear();
    for (int64_t i = 0; i < size(); ++i)
      if (takes(transform, i)) selected_.push_back((*this)[i]);
    return static_cast<int64_t>(selected_.size());
  }
  int64_t score(const PlaneTransform& transform) const {
    int64_t counts[kHypotheses];
    score(&transform, 1, counts);
    return counts[0];
  }
  // Of up to kHypotheses.
  void score(const PlaneTransform* transforms, int count, int64_t* counts) const {
    float h[9 * kHypotheses] = {};
    for (int k = 0; k < count; ++k)
      for (int i = 0; i < 9; ++i) h[9 * k + i] = static_cast<float>(transforms[k].h[i]);
    const float* const x = columns_.data();
    const int64_t n = size();
    homography_kernels().count({x, x + n, x + 2 * n, x + 3 * n, n}, h, static_cast<float>(limit_), counts);
  }

 private:
  std::vector<Pair> pairs_, selected_;
  double limit_;
  std::vector<float> columns_;
};

// Transforms of some samples, those that are plausible.
int draw(const Points& points, const RansacParams& params, int64_t samples, uint64_t* position,
         PlaneTransform* transforms) {
  int count = 0;
  for (int64_t s = 0; s < samples; ++s) {
    int64_t indices[4];
    Pair pairs[4];
    const int taken = draw_sample(params.seed, *position, points.size(), sample_of(params.affine), indices);
    *position += static_cast<uint64_t>(taken);
    for (int i = 0; i < sample_of(params.affine); ++i) pairs[i] = points[indices[i]];
    count += fit_sample(pairs, sample_of(params.affine), &transforms[count]);
  }
  return count;
}

bool search(Points* points, const RansacParams& params, PlaneTransform* best) {
  uint64_t position = 0;
  int64_t most = sample_of(params.affine) - 1, iterations = params.max_iterations;
  for (int64_t done = 0; done < iterations; done += kHypotheses) {
    stop_if_interrupted();
    PlaneTransform candidates[kHypotheses];
    const int count =
        draw(*points, params, std::min<int64_t>(kHypotheses, iterations - done), &position, candidates);
    if (count == 0) continue;
    int64_t counts[kHypotheses];
    points->score(candidates, count, counts);
    for (int k = 0; k < count; ++k) {
      if (counts[k] <= most) continue;
      most = counts[k];
      *best = candidates[k];
      optimise(*points, params.affine, best, &most);
      iterations = std::min(iterations, samples_needed(most, points->size(), sample_of(params.affine),
                                                       params.confidence, params.max_iterations));
    }
  }
  if (most < sample_of(params.affine)) return false;
  polish(*points, params.affine, best);
  return true;
}

}  // namespace

bool find_transform(const double* src, const double* dst, int64_t n, const RansacParams& params,
                    PlaneTransform* transform, uint8_t* inliers) {
  std::fill_n(inliers, n, uint8_t{0});
  if (n < sample_of(params.affine)) return false;
  const Normalisation from = normalisation_of(src, n), to = normalisation_of(dst, n);
  std::vector<Pair> pairs;
  for (int64_t i = 0; i < n; ++i)
    pairs.push_back(normalised({src[2 * i], src[2 * i + 1], dst[2 * i], dst[2 * i + 1]}, from, to));
  Points points(std::move(pairs), params.threshold * to.scale);
  if (!spans_planes(points, n)) return false;
  PlaneTransform found = {};
  if (params.robust) {
    if (!search(&points, params, &found)) return false;
  } else {
    if (!params.affine) fit_linear(points, &found);
    if (!fit_selected(points, params.affine, &found)) return false;
  }
  for (int64_t i = 0; i < n; ++i) inliers[i] = !params.robust || points.takes(found, i);
  return denormalise(found, from, to, transform);
}

}  // namespace pyvision

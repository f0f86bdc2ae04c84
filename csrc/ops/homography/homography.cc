// SPDX-License-Identifier: Apache-2.0
#include "ops/homography/homography.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace pyvision {
namespace {

struct Vec3 {
  double x, y, z;
};
Vec3 cross(const Vec3& a, const Vec3& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
double dot(const Vec3& a, const Vec3& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

PlaneTransform multiply(const PlaneTransform& a, const PlaneTransform& b) {
  PlaneTransform c = {};
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 3; ++k) c.h[3 * i + j] += a.h[3 * i + k] * b.h[3 * k + j];
  return c;
}

// Points moved to their centroid and scaled to a mean distance of sqrt(2) from it.
struct Normalisation {
  double cx = 0, cy = 0, scale = 1;

  Normalisation(const double* points, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
      cx += points[2 * i] / static_cast<double>(n), cy += points[2 * i + 1] / static_cast<double>(n);
    double distance = 0;
    for (int64_t i = 0; i < n; ++i)
      distance += std::hypot(points[2 * i] - cx, points[2 * i + 1] - cy) / static_cast<double>(n);
    if (distance > 0 && std::isfinite(std::sqrt(2.0) / distance)) scale = std::sqrt(2.0) / distance;
  }
  PlaneTransform matrix() const { return {{scale, 0, -scale * cx, 0, scale, -scale * cy, 0, 0, 1}}; }
  PlaneTransform inverse() const { return {{1 / scale, 0, cx, 0, 1 / scale, cy, 0, 0, 1}}; }
};

struct Pair {
  double x, y, u, v;
};

// Solves the positive definite a (n x n) x = b in place; false where it is not.
bool solve(double* a, double* b, int n) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = a[i * n + j];
      for (int k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      if (i == j) {
        if (!(sum > 1e-14 * (1 + std::abs(a[i * n + i])))) return false;
        a[i * n + i] = std::sqrt(sum);
      } else {
        a[i * n + j] = sum / a[j * n + j];
      }
    }
  }
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (int i = n - 1; i >= 0; --i) {
    for (int k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return true;
}

// Twice the area of a triangle: positive where it turns one way.
double area(double ax, double ay, double bx, double by, double cx, double cy) {
  return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
}
constexpr double kLeastArea = 1e-6;  // of coordinates about 1: less is a line

// No three points on a line, and every three turn the same way in both planes, or the other way: no view of a
// plane from its front does anything else.
bool is_plausible(const Pair* p, int count, bool affine) {
  double side = 0;
  for (int i = 0; i < count; ++i) {
    for (int j = i + 1; j < count; ++j) {
      for (int k = j + 1; k < count; ++k) {
        const double a = area(p[i].x, p[i].y, p[j].x, p[j].y, p[k].x, p[k].y),
                     b = area(p[i].u, p[i].v, p[j].u, p[j].v, p[k].u, p[k].v);
        if (std::abs(a) < kLeastArea || std::abs(b) < kLeastArea) return false;
        const double same = a * b > 0 ? 1 : -1;
        if (!affine && side != 0 && same != side) return false;
        side = same;
      }
    }
  }
  return true;
}

// Columns p_0, p_1, p_2, scaled so that they sum to p_3 where there is one.
struct Basis {
  Vec3 p[3];

  Basis(const Vec3* points, int count) {
    for (int i = 0; i < 3; ++i) p[i] = points[i];
    if (count < 4) return;
    const double det = dot(p[0], cross(p[1], p[2]));
    const double weight[3] = {dot(points[3], cross(p[1], p[2])) / det,
                              dot(points[3], cross(p[2], p[0])) / det,
                              dot(points[3], cross(p[0], p[1])) / det};
    for (int i = 0; i < 3; ++i) p[i] = {p[i].x * weight[i], p[i].y * weight[i], p[i].z * weight[i]};
  }
};

// The transform of 4 pairs, or the affine one of 3: the basis of dst times the inverse of that of src.
bool fit_sample(const Pair* pairs, int count, PlaneTransform* transform) {
  if (!is_plausible(pairs, count, count == 3)) return false;
  Vec3 from[4], to[4];
  for (int i = 0; i < count; ++i) {
    from[i] = {pairs[i].x, pairs[i].y, 1};
    to[i] = {pairs[i].u, pairs[i].v, 1};
  }
  const Basis a(from, count), b(to, count);
  const double det = dot(a.p[0], cross(a.p[1], a.p[2]));
  const Vec3 rows[3] = {cross(a.p[1], a.p[2]), cross(a.p[2], a.p[0]),
                        cross(a.p[0], a.p[1])};  // of the inverse
  double size = 0;
  for (int i = 0; i < 3; ++i) {
    const double column[3][3] = {
        {b.p[0].x, b.p[1].x, b.p[2].x}, {b.p[0].y, b.p[1].y, b.p[2].y}, {b.p[0].z, b.p[1].z, b.p[2].z}};
    const Vec3 row = {(column[i][0] * rows[0].x + column[i][1] * rows[1].x + column[i][2] * rows[2].x) / det,
                      (column[i][0] * rows[0].y + column[i][1] * rows[1].y + column[i][2] * rows[2].y) / det,
                      (column[i][0] * rows[0].z + column[i][1] * rows[1].z + column[i][2] * rows[2].z) / det};
    transform->h[3 * i] = row.x, transform->h[3 * i + 1] = row.y, transform->h[3 * i + 2] = row.z;
    size = std::max({size, std::abs(row.x), std::abs(row.y), std::abs(row.z)});
  }
  if (!(size > 0) || !std::isfinite(size)) return false;
  for (double& h : transform->h) h /= size;
  return true;
}

// Whether normalised points lie on no line, in both planes: else nothing is decided.
bool spans_planes(const std::vector<Pair>& pairs) {
  double xx = 0, xy = 0, yy = 0, uu = 0, uv = 0, vv = 0;
  for (const Pair& p : pairs) {
    xx += p.x * p.x, xy += p.x * p.y, yy += p.y * p.y;
    uu += p.u * p.u, uv += p.u * p.v, vv += p.v * p.v;
  }
  const double least = 1e-9 * static_cast<double>(pairs.size()) * static_cast<double>(pairs.size());
  return xx * yy - xy * xy > least && uu * vv - uv * uv > least;
}

// Two least-squares problems with one matrix.
bool fit_affine(const std::vector<Pair>& pairs, PlaneTransform* transform) {
  double m[9] = {}, u[3] = {}, v[3] = {};
  for (const Pair& p : pairs) {
    const double row[3] = {p.x, p.y, 1};
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) m[3 * i + j] += row[i] * row[j];
      u[i] += row[i] * p.u;
      v[i] += row[i] * p.v;
    }
  }
  double again[9];
  std::copy_n(m, 9, again);
  if (!solve(m, u, 3) || !solve(again, v, 3)) return false;
  *transform = {{u[0], u[1], u[2], v[0], v[1], v[2], 0, 0, 1}};
  return true;
}

// The eigenvector of the least eigenvalue of a symmetric 9 x 9 matrix, by Jacobi's rotations.
void least_eigenvector(double (&a)[9][9], double* vector) {
  double v[9][9] = {};
  for (int i = 0; i < 9; ++i) v[i][i] = 1;
  for (int sweep = 0; sweep < 30; ++sweep) {
    double off = 0, diagonal = 0;
    for (int i = 0; i < 9; ++i) {
      diagonal += a[i][i] * a[i][i];
      for (int j = 0; j < i; ++j) off += a[i][j] * a[i][j];
    }
    if (off <= 1e-30 * diagonal) break;
    for (int p = 0; p < 9; ++p) {
      for (int q = p + 1; q < 9; ++q) {
        if (a[p][q] == 0) continue;
        const double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const double t = (theta < 0 ? -1 : 1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        for (int k = 0; k < 9; ++k) {
          const double kp = a[k][p], kq = a[k][q];
          a[k][p] = c * kp - s * kq, a[k][q] = s * kp + c * kq;
        }
        for (int k = 0; k < 9; ++k) {
          const double pk = a[p][k], qk = a[q][k], vp = v[k][p], vq = v[k][q];
          a[p][k] = c * pk - s * qk, a[q][k] = s * pk + c * qk;
          v[k][p] = c * vp - s * vq, v[k][q] = s * vp + c * vq;
        }
      }
    }
  }
  int least = 0;
  for (int i = 1; i < 9; ++i)
    if (a[i][i] < a[least][least]) least = i;
  for (int i = 0; i < 9; ++i) vector[i] = v[i][least];
}

// The direct linear transform: where to start from without a sample.
void fit_linear(const std::vector<Pair>& pairs, PlaneTransform* transform) {
  double a[9][9] = {};
  for (const Pair& p : pairs) {
    const double rows[2][9] = {{p.x, p.y, 1, 0, 0, 0, -p.u * p.x, -p.u * p.y, -p.u},
                               {0, 0, 0, p.x, p.y, 1, -p.v * p.x, -p.v * p.y, -p.v}};
    for (const auto& row : rows)
      for (int i = 0; i < 9; ++i)
        for (int j = 0; j < 9; ++j) a[i][j] += row[i] * row[j];
  }
  least_eigenvector(a, transform->h);
}

double squared_error(const PlaneTransform& t, const Pair& p) {
  const double* const h = t.h;
  const double w = h[6] * p.x + h[7] * p.y + h[8];
  const double dx = (h[0] * p.x + h[1] * p.y + h[2]) / w - p.u,
               dy = (h[3] * p.x + h[4] * p.y + h[5]) / w - p.v;
  const double error = dx * dx + dy * dy;
  return std::isfinite(error) ? error : INFINITY;
}

double total_error(const PlaneTransform& t, const std::vector<Pair>& pairs) {
  double sum = 0;
  for (const Pair& p : pairs) sum += squared_error(t, p);
  return sum;
}

// Levenberg-Marquardt over the first eight numbers, the last being 1.
bool refine_projective(const std::vector<Pair>& pairs, PlaneTransform* transform) {
  constexpr int kIterations = 10;
  if (std::abs(transform->h[8]) < 1e-9) return false;
  for (int i = 0; i < 9; ++i) transform->h[i] /= i < 8 ? transform->h[8] : 1;
  transform->h[8] = 1;
  double error = total_error(*transform, pairs), damping = 1e-6;
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    double m[64] = {}, g[8] = {};
    for (const Pair& p : pairs) {
      const double* const h = transform->h;
      const double w = 1 / (h[6] * p.x + h[7] * p.y + 1), x = p.x * w, y = p.y * w;
      const double u = (h[0] * p.x + h[1] * p.y + h[2]) * w, v = (h[3] * p.x + h[4] * p.y + h[5]) * w;
      const double ru = p.u - u, rv = p.v - v;
      // The gradients of u and v are (x, y, w, 0, 0, 0, -u x, -u y) and (0, 0, 0, x, y, w, -v x, -v y).
      const double a[3] = {x, y, w}, q = u * u + v * v, r = u * ru + v * rv;
      for (int i = 0; i < 3; ++i) {
        for (int j = 0; j <= i; ++j) m[8 * i + j] += a[i] * a[j];
        g[i] += a[i] * ru;
        g[3 + i] += a[i] * rv;
        for (int j = 0; j < 2; ++j) {
          m[8 * (6 + j) + i] -= u * a[i] * a[j];
          m[8 * (6 + j) + 3 + i] -= v * a[i] * a[j];
        }
      }
      m[8 * 6 + 6] += q * x * x, m[8 * 7 + 6] += q * x * y, m[8 * 7 + 7] += q * y * y;
      g[6] -= r * x, g[7] -= r * y;
    }
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j <= i; ++j) m[8 * (3 + i) + 3 + j] = m[8 * i + j];
    bool improved = false;
    double gain = 0;
    for (int attempt = 0; attempt < 6 && !improved; ++attempt) {
      double a[64], step[8];
      std::copy_n(m, 64, a);
      std::copy_n(g, 8, step);
      for (int i = 0; i < 8; ++i) a[9 * i] *= 1 + damping;
      if (solve(a, step, 8)) {
        PlaneTransform next = *transform;
        for (int i = 0; i < 8; ++i) next.h[i] += step[i];
        const double next_error = total_error(next, pairs);
        if (next_error <= error) {
          gain = error - next_error;
          error = next_error;
          *transform = next;
          improved = true;
        }
      }
      damping *= improved ? 0.1 : 100;
    }
    if (!improved || gain <= 1e-12 * error) break;
  }
  return std::isfinite(error);
}

// splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t below(uint64_t n) {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return static_cast<uint64_t>((static_cast<unsigned __int128>(z) * n) >> 64);
  }

 private:
  uint64_t state_;
};

class Search {
 public:
  Search(std::vector<Pair> pairs, const RansacParams& params, double threshold)
      : pairs_(std::move(pairs)),
        params_(params),
        limit_(threshold * threshold),
        sample_(params.affine ? 3 : 4),
        columns_(4 * pairs_.size()) {
    const auto n = static_cast<int64_t>(pairs_.size());
    for (int64_t i = 0; i < n; ++i) {
      const Pair& p = pairs_[static_cast<size_t>(i)];
      const double values[] = {p.x, p.y, p.u, p.v};
      for (int c = 0; c < 4; ++c) columns_[static_cast<size_t>(c * n + i)] = static_cast<float>(values[c]);
    }
    points_ = {columns_.data(), columns_.data() + n, columns_.data() + 2 * n, columns_.data() + 3 * n, n};
  }

  bool run(PlaneTransform* best) {
    Random random(params_.seed);
    int64_t most = sample_ - 1, iterations = params_.max_iterations;
    for (int64_t done = 0; done < iterations;) {
      PlaneTransform candidates[kHypotheses];
      const int count = draw(&random, std::min<int64_t>(kHypotheses, iterations - done), candidates, &done);
      if (count == 0) continue;
      int64_t counts[kHypotheses];
      score(candidates, count, counts);
      for (int k = 0; k < count; ++k) {
        if (counts[k] <= most) continue;
        most = counts[k];
        *best = candidates[k];
        optimise(best, &most);
        iterations = std::min(iterations, needed(most));
      }
    }
    if (most < sample_) return false;
    const std::vector<Pair> inliers = inliers_of(*best);
    PlaneTransform refined = *best;
    if (static_cast<int64_t>(inliers.size()) >= sample_ && fit(inliers, &refined) &&
        inliers_of(refined).size() >= inliers.size())
      *best = refined;
    return true;
  }

  bool fit(const std::vector<Pair>& pairs, PlaneTransform* transform) const {
    return params_.affine ? fit_affine(pairs, transform) : refine_projective(pairs, transform);
  }

 private:
  // Transforms of some samples, those that are plausible; counts the samples.
  int draw(Random* random, int64_t samples, PlaneTransform* transforms, int64_t* done) {
    int count = 0;
    for (int64_t s = 0; s < samples; ++s, ++*done) {
      uint64_t index[4];
      Pair pairs[4];
      for (int i = 0; i < sample_;) {
        index[i] = random->below(pairs_.size());
        if (std::find(index, index + i, index[i]) != index + i) continue;
        pairs[i] = pairs_[index[i]];
        ++i;
      }
      count += fit_sample(pairs, sample_, &transforms[count]);
    }
    return count;
  }

  void score(const PlaneTransform* transforms, int count, int64_t* counts) const {
    float h[9 * kHypotheses] = {};
    for (int k = 0; k < count; ++k)
      for (int i = 0; i < 9; ++i) h[9 * k + i] = static_cast<float>(transforms[k].h[i]);
    homography_kernels().count(points_, h, static_cast<float>(limit_), counts);
  }

  // Least squares over the inliers while that finds more of them.
  void optimise(PlaneTransform* best, int64_t* most) const {
    for (;;) {
      PlaneTransform next = *best;
      const std::vector<Pair> inliers = inliers_of(*best);
      if (static_cast<int64_t>(inliers.size()) <= sample_ || !fit(inliers, &next)) return;
      int64_t counts[kHypotheses];
      score(&next, 1, counts);
      if (counts[0] <= *most) return;
      *most = counts[0];
      *best = next;
    }
  }

  std::vector<Pair> inliers_of(const PlaneTransform& transform) const {
    std::vector<Pair> inliers;
    for (const Pair& p : pairs_)
      if (squared_error(transform, p) <= limit_) inliers.push_back(p);
    return inliers;
  }

  // After how many samples one without outliers is to be expected with the confidence asked for.
  int64_t needed(int64_t inliers) const {
    const double share = static_cast<double>(inliers) / static_cast<double>(pairs_.size());
    const double good = std::pow(share, sample_);
    if (good >= 1) return 0;
    const double count = std::log(1 - params_.confidence) / std::log1p(-good);
    return count < static_cast<double>(params_.max_iterations) ? static_cast<int64_t>(std::ceil(count))
                                                               : params_.max_iterations;
  }

  std::vector<Pair> pairs_;
  RansacParams params_;
  double limit_;
  int sample_;
  std::vector<float> columns_;
  PointColumns points_;
};

}  // namespace

bool find_transform(const double* src, const double* dst, int64_t n, const RansacParams& params,
                    PlaneTransform* transform, uint8_t* inliers) {
  std::fill_n(inliers, n, uint8_t{0});
  if (n < (params.affine ? 3 : 4)) return false;
  const Normalisation from(src, n), to(dst, n);
  std::vector<Pair> pairs;
  for (int64_t i = 0; i < n; ++i)
    pairs.push_back({(src[2 * i] - from.cx) * from.scale, (src[2 * i + 1] - from.cy) * from.scale,
                     (dst[2 * i] - to.cx) * to.scale, (dst[2 * i + 1] - to.cy) * to.scale});
  Search search(pairs, params, params.threshold * to.scale);
  PlaneTransform found = {};
  if (!spans_planes(pairs)) return false;
  if (params.robust) {
    if (!search.run(&found)) return false;
  } else {
    if (!params.affine) fit_linear(pairs, &found);
    if (!search.fit(pairs, &found)) return false;
  }
  const double limit = params.threshold * to.scale * params.threshold * to.scale;
  for (int64_t i = 0; i < n; ++i)
    inliers[i] = !params.robust || squared_error(found, pairs[static_cast<size_t>(i)]) <= limit;
  *transform = multiply(to.inverse(), multiply(found, from.matrix()));
  const double last = transform->h[8];
  if (!(std::abs(last) > 0)) return false;
  for (double& h : transform->h) h /= last;
  return std::all_of(transform->h, transform->h + 9, [](double h) { return std::isfinite(h); });
}

}  // namespace pyvision

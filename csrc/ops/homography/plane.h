// SPDX-License-Identifier: Apache-2.0
// Plane transforms from pairs of points: what the CPU and the device share, down to the order of operations.
//
// A template's Points are the pairs of a call, of which some are selected:
//
//   points.sum(sums, add)      sums += add(pair, sums) over the selected ones
//   points.once(result, work)  work(result): where many threads run a template together, by one of them
//   points.select(transform)   those it takes to within the limit; returns how many
//   points.score(transform)    how many it takes there in f32
#pragma once

#include <cmath>
#include <cstdint>

#include "core/device.h"
#include "ops/homography/params.h"

namespace pyvision {

// How many pairs decide.
PYVISION_DEVICE int sample_of(bool affine) { return affine ? 3 : 4; }

struct Pair {
  double x, y, u, v;
};

struct Vec3 {
  double x, y, z;
};
PYVISION_DEVICE Vec3 cross(const Vec3& a, const Vec3& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
PYVISION_DEVICE double dot(const Vec3& a, const Vec3& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

PYVISION_DEVICE PlaneTransform multiply(const PlaneTransform& a, const PlaneTransform& b) {
  PlaneTransform c = {};
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 3; ++k) c.h[3 * i + j] += a.h[3 * i + k] * b.h[3 * k + j];
  return c;
}

// Points moved to their centroid and scaled to a mean distance of sqrt(2) from it.
struct Normalisation {
  double cx, cy, scale;
};
PYVISION_DEVICE double scale_of(double mean_distance) {
  const double scale = std::sqrt(2.0) / mean_distance;
  return mean_distance > 0 && std::isfinite(scale) ? scale : 1;
}
PYVISION_DEVICE Pair normalised(const Pair& p, const Normalisation& from, const Normalisation& to) {
  return {(p.x - from.cx) * from.scale, (p.y - from.cy) * from.scale, (p.u - to.cx) * to.scale,
          (p.v - to.cy) * to.scale};
}

// The transform of points as they were, with 1 as its last number; false where it has none.
PYVISION_DEVICE bool denormalise(const PlaneTransform& found, const Normalisation& from,
                                 const Normalisation& to, PlaneTransform* transform) {
  const PlaneTransform before = {
      {from.scale, 0, -from.scale * from.cx, 0, from.scale, -from.scale * from.cy, 0, 0, 1}};
  const PlaneTransform after = {{1 / to.scale, 0, to.cx, 0, 1 / to.scale, to.cy, 0, 0, 1}};
  *transform = multiply(after, multiply(found, before));
  const double last = transform->h[8];
  if (!(std::abs(last) > 0)) return false;
  bool finite = true;
  for (double& h : transform->h) finite &= std::isfinite(h /= last);
  return finite;
}

// Solves the positive definite a (n x n) x = b in place; false where it is not. Reads a's lower half.
PYVISION_DEVICE bool solve(double* a, double* b, int n) {
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
PYVISION_DEVICE double area(double ax, double ay, double bx, double by, double cx, double cy) {
  return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
}
constexpr double kLeastArea = 1e-6;  // of coordinates about 1: less is a line

// No three points on a line, and every three turn the same way in both planes, or the other way: no view of a
// plane from its front does anything else.
PYVISION_DEVICE bool is_plausible(const Pair* p, int count, bool affine) {
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
};
PYVISION_DEVICE Basis basis_of(const Vec3* points, int count) {
  Basis basis;
  Vec3* const p = basis.p;
  for (int i = 0; i < 3; ++i) p[i] = points[i];
  if (count < 4) return basis;
  const double det = dot(p[0], cross(p[1], p[2]));
  const double weight[3] = {dot(points[3], cross(p[1], p[2])) / det, dot(points[3], cross(p[2], p[0])) / det,
                            dot(points[3], cross(p[0], p[1])) / det};
  for (int i = 0; i < 3; ++i) p[i] = {p[i].x * weight[i], p[i].y * weight[i], p[i].z * weight[i]};
  return basis;
}

// The transform of 4 pairs, or the affine one of 3: the basis of dst times the inverse of that of src.
PYVISION_DEVICE bool fit_sample(const Pair* pairs, int count, PlaneTransform* transform) {
  if (!is_plausible(pairs, count, count == 3)) return false;
  Vec3 from[4], to[4];
  for (int i = 0; i < count; ++i) {
    from[i] = {pairs[i].x, pairs[i].y, 1};
    to[i] = {pairs[i].u, pairs[i].v, 1};
  }
  const Basis a = basis_of(from, count), b = basis_of(to, count);
  const double det = dot(a.p[0], cross(a.p[1], a.p[2]));
  const Vec3 rows[3] = {cross(a.p[1], a.p[2]), cross(a.p[2], a.p[0]),
                        cross(a.p[0], a.p[1])};  // of the inverse
  const double columns[3][3] = {
      {b.p[0].x, b.p[1].x, b.p[2].x}, {b.p[0].y, b.p[1].y, b.p[2].y}, {b.p[0].z, b.p[1].z, b.p[2].z}};
  double size = 0;
  for (int i = 0; i < 3; ++i) {
    const double* const c = columns[i];
    double* const h = transform->h + 3 * i;
    h[0] = (c[0] * rows[0].x + c[1] * rows[1].x + c[2] * rows[2].x) / det;
    h[1] = (c[0] * rows[0].y + c[1] * rows[1].y + c[2] * rows[2].y) / det;
    h[2] = (c[0] * rows[0].z + c[1] * rows[1].z + c[2] * rows[2].z) / det;
    for (int j = 0; j < 3; ++j) size = size < std::abs(h[j]) ? std::abs(h[j]) : size;
  }
  if (!(size > 0) || !std::isfinite(size)) return false;
  for (double& h : transform->h) h /= size;
  return true;
}

// splitmix64's number at a position (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
// OOPSLA 2014), below n.
PYVISION_DEVICE uint64_t random_below(uint64_t seed, uint64_t position, uint64_t n) {
  uint64_t z = seed + (position + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
#ifdef __CUDA_ARCH__
  return __umul64hi(z, n);
#else
  return static_cast<uint64_t>((static_cast<unsigned __int128>(z) * n) >> 64);
#endif
}

// Different pairs, from the random numbers that begin at a position; returns how many numbers they took.
PYVISION_DEVICE int draw_sample(uint64_t seed, uint64_t position, int64_t n, int count, int64_t* indices) {
  int taken = 0;
  for (int i = 0; i < count;) {
    indices[i] = static_cast<int64_t>(
        random_below(seed, position + static_cast<uint64_t>(taken++), static_cast<uint64_t>(n)));
    bool is_new = true;
    for (int j = 0; j < i; ++j) is_new &= indices[j] != indices[i];
    i += is_new;
  }
  return taken;
}

// After how many samples one without outliers is to be expected with the confidence asked for; at most
// `most`.
PYVISION_DEVICE int64_t samples_needed(int64_t inliers, int64_t n, int sample, double confidence,
                                       int64_t most) {
  const double good = std::pow(static_cast<double>(inliers) / static_cast<double>(n), sample);
  if (good >= 1) return 0;
  const double count = std::log(1 - confidence) / std::log1p(-good);
  return count < static_cast<double>(most) ? static_cast<int64_t>(std::ceil(count)) : most;
}

PYVISION_DEVICE double squared_error(const PlaneTransform& t, const Pair& p) {
  const double* const h = t.h;
  const double w = h[6] * p.x + h[7] * p.y + h[8];
  const double dx = (h[0] * p.x + h[1] * p.y + h[2]) / w - p.u,
               dy = (h[3] * p.x + h[4] * p.y + h[5]) / w - p.v;
  const double error = dx * dx + dy * dy;
  return std::isfinite(error) ? error : INFINITY;
}

template <class Points>
PYVISION_DEVICE double total_error(Points& points, const PlaneTransform& t) {
  double sum[1] = {};
  points.sum(sum, [&](const Pair& p, double* s) { s[0] += squared_error(t, p); });
  return sum[0];
}

// Whether n normalised points lie on no line, in both planes: else nothing is decided.
template <class Points>
PYVISION_DEVICE bool spans_planes(Points& points, int64_t n) {
  double s[6] = {};
  points.sum(s, [](const Pair& p, double* sums) {
    sums[0] += p.x * p.x, sums[1] += p.x * p.y, sums[2] += p.y * p.y;
    sums[3] += p.u * p.u, sums[4] += p.u * p.v, sums[5] += p.v * p.v;
  });
  const double least = 1e-9 * static_cast<double>(n) * static_cast<double>(n);
  return s[0] * s[2] - s[1] * s[1] > least && s[3] * s[5] - s[4] * s[4] > least;
}

// Two least-squares problems with one matrix.
template <class Points>
PYVISION_DEVICE bool fit_affine(Points& points, PlaneTransform* transform) {
  double s[15] = {};
  points.sum(s, [](const Pair& p, double* sums) {
    const double row[3] = {p.x, p.y, 1};
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j <= i; ++j) sums[3 * i + j] += row[i] * row[j];
      sums[9 + i] += row[i] * p.u;
      sums[12 + i] += row[i] * p.v;
    }
  });
  double again[9], *const u = s + 9, *const v = s + 12;
  for (int i = 0; i < 9; ++i) again[i] = s[i];
  if (!solve(s, u, 3) || !solve(again, v, 3)) return false;
  *transform = {{u[0], u[1], u[2], v[0], v[1], v[2], 0, 0, 1}};
  return true;
}

// The eigenvector of the least eigenvalue of a symmetric 9 x 9 matrix, by Jacobi's rotations.
PYVISION_DEVICE void least_eigenvector(double (&a)[9][9], double* vector) {
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
template <class Points>
PYVISION_DEVICE void fit_linear(Points& points, PlaneTransform* transform) {
  double lower[45] = {};
  points.sum(lower, [](const Pair& p, double* sums) {
    const double rows[2][9] = {{p.x, p.y, 1, 0, 0, 0, -p.u * p.x, -p.u * p.y, -p.u},
                               {0, 0, 0, p.x, p.y, 1, -p.v * p.x, -p.v * p.y, -p.v}};
    for (const auto& row : rows)
      for (int i = 0; i < 9; ++i)
        for (int j = 0; j <= i; ++j) sums[i * (i + 1) / 2 + j] += row[i] * row[j];
  });
  points.once(transform->h, [&](double* h) {
    double a[9][9];
    for (int i = 0; i < 9; ++i)
      for (int j = 0; j <= i; ++j) a[i][j] = a[j][i] = lower[i * (i + 1) / 2 + j];
    least_eigenvector(a, h);
  });
}

// Normal equations of a step of the first eight numbers: their 29 different sums, and the matrix and the
// right side they make.
PYVISION_DEVICE void add_to_step(const PlaneTransform& transform, const Pair& p, double* sums) {
  const double* const h = transform.h;
  const double w = 1 / (h[6] * p.x + h[7] * p.y + 1), x = p.x * w, y = p.y * w;
  const double u = (h[0] * p.x + h[1] * p.y + h[2]) * w, v = (h[3] * p.x + h[4] * p.y + h[5]) * w;
  const double ru = p.u - u, rv = p.v - v;
  // The gradients of u and v are (x, y, w, 0, 0, 0, -u x, -u y) and (0, 0, 0, x, y, w, -v x, -v y).
  const double a[3] = {x, y, w}, q = u * u + v * v, r = u * ru + v * rv;
  double *const m = sums, *const mixed_u = sums + 6, *const mixed_v = sums + 12, *const g = sums + 21;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j <= i; ++j) m[i * (i + 1) / 2 + j] += a[i] * a[j];
    g[i] += a[i] * ru;
    g[3 + i] += a[i] * rv;
    for (int j = 0; j < 2; ++j) {
      mixed_u[3 * j + i] -= u * a[i] * a[j];
      mixed_v[3 * j + i] -= v * a[i] * a[j];
    }
  }
  sums[18] += q * x * x, sums[19] += q * x * y, sums[20] += q * y * y;
  g[6] -= r * x, g[7] -= r * y;
}
PYVISION_DEVICE void step_equations(const double* sums, double (&m)[64], double* g) {
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      if (j <= i) m[8 * i + j] = m[8 * (3 + i) + 3 + j] = sums[i * (i + 1) / 2 + j];
      m[8 * (3 + i) + j] = 0;
    }
    for (int j = 0; j < 2; ++j) {
      m[8 * (6 + j) + i] = sums[6 + 3 * j + i];
      m[8 * (6 + j) + 3 + i] = sums[12 + 3 * j + i];
    }
  }
  m[8 * 6 + 6] = sums[18], m[8 * 7 + 6] = sums[19], m[8 * 7 + 7] = sums[20];
  for (int i = 0; i < 8; ++i) g[i] = sums[21 + i];
}

// Levenberg-Marquardt over the first eight numbers, the last being 1.
template <class Points>
PYVISION_DEVICE bool refine_projective(Points& points, PlaneTransform* transform) {
  constexpr int kIterations = 10;
  if (std::abs(transform->h[8]) < 1e-9) return false;
  for (int i = 0; i < 8; ++i) transform->h[i] /= transform->h[8];
  transform->h[8] = 1;
  double error = total_error(points, *transform), damping = 1e-6;
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    double sums[29] = {};
    points.sum(sums, [&](const Pair& p, double* s) { add_to_step(*transform, p, s); });
    bool improved = false;
    double gain = 0;
    for (int attempt = 0; attempt < 6 && !improved; ++attempt) {
      double step[9];  // and whether there is one
      points.once(step, [&](double* x) {
        double m[64];
        step_equations(sums, m, x);
        for (int i = 0; i < 8; ++i) m[9 * i] *= 1 + damping;
        x[8] = solve(m, x, 8);
      });
      if (step[8] != 0) {
        PlaneTransform next = *transform;
        for (int i = 0; i < 8; ++i) next.h[i] += step[i];
        const double next_error = total_error(points, next);
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

// To the selected pairs, from a transform that is near where it is projective.
template <class Points>
PYVISION_DEVICE bool fit_selected(Points& points, bool affine, PlaneTransform* transform) {
  return affine ? fit_affine(points, transform) : refine_projective(points, transform);
}

// Least squares over the inliers while that finds more of them.
template <class Points>
PYVISION_DEVICE void optimise(Points& points, bool affine, PlaneTransform* best, int64_t* most) {
  for (;;) {
    PlaneTransform next = *best;
    if (points.select(*best) <= sample_of(affine) || !fit_selected(points, affine, &next)) return;
    const int64_t count = points.score(next);
    if (count <= *most) return;
    *most = count;
    *best = next;
  }
}

// Least squares over the inliers, unless that loses some.
template <class Points>
PYVISION_DEVICE void polish(Points& points, bool affine, PlaneTransform* best) {
  PlaneTransform refined = *best;
  const int64_t inliers = points.select(*best);
  if (inliers >= sample_of(affine) && fit_selected(points, affine, &refined) &&
      points.select(refined) >= inliers)
    *best = refined;
}

}  // namespace pyvision

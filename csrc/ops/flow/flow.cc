// SPDX-License-Identifier: Apache-2.0
#include "ops/flow/flow.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/arena.h"
#include "core/grey_image.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

// Weighted mean of the neighbours of row[x], the rows above and below being given.
float mean_at(const float* above, const float* row, const float* below, int64_t left, int64_t x,
              int64_t right) {
  return (row[left] + row[right] + above[x] + below[x]) * (1.0f / 6) +
         (above[left] + above[right] + below[left] + below[right]) * (1.0f / 12);
}

struct FlowRow {
  const float *above, *row, *below;

  FlowRow(const float* field, int64_t y, int64_t h, int64_t w)
      : above(field + std::max<int64_t>(y - 1, 0) * w),
        row(field + y * w),
        below(field + std::min(y + 1, h - 1) * w) {}
};

void step_row(const FlowTerms& t, int64_t y, const float* u, const float* v, float* next_u, float* next_v) {
  const FlowRow in_u(u, y, t.h, t.w), in_v(v, y, t.h, t.w);
  const int64_t first = y * t.w;
  const float *ix = t.ix + first, *iy = t.iy + first, *it = t.it + first, *u0 = t.u0 + first,
              *v0 = t.v0 + first;
  const float alpha2 = t.alpha * t.alpha;
  float *to_u = next_u + first, *to_v = next_v + first;
  const auto step = [=](int64_t left, int64_t x, int64_t right) {
    const float mean_u = mean_at(in_u.above, in_u.row, in_u.below, left, x, right);
    const float mean_v = mean_at(in_v.above, in_v.row, in_v.below, left, x, right);
    const float residual = ix[x] * (mean_u - u0[x]) + iy[x] * (mean_v - v0[x]) + it[x];
    const float share = residual / (alpha2 + ix[x] * ix[x] + iy[x] * iy[x]);
    to_u[x] = mean_u - ix[x] * share;
    to_v[x] = mean_v - iy[x] * share;
  };
  step(0, 0, std::min<int64_t>(1, t.w - 1));
#pragma GCC ivdep
  for (int64_t x = 1; x < t.w - 1; ++x) step(x - 1, x, x + 1);
  if (t.w > 1) step(t.w - 2, t.w - 1, t.w - 1);
}

constexpr int kLane =
    8;  // windows' rows are filled up to multiples of this: sums of so many lanes need no tail
constexpr int kMaxRow = (kMaxTrackWindow + kLane - 1) / kLane * kLane;

// The square of `side` pixels whose first one lies at (y, x), sampled bilinearly. memory: (side + 1)^2
void sample_square(const TrackImage& image, float y, float x, int side, float* memory, float* out,
                   int out_row) {
  const auto top = static_cast<int64_t>(std::floor(y)), left = static_cast<int64_t>(std::floor(x));
  const float fy = y - static_cast<float>(top), fx = x - static_cast<float>(left);
  const bool inside = left >= 0 && left + side < image.w;
  for (int i = 0; i <= side; ++i) {
    const float* const row = image.data + mirrored(top + i, image.h) * image.w;
    float* const to = memory + i * (side + 1);
    for (int j = 0; j <= side; ++j) to[j] = inside ? row[left + j] : row[mirrored(left + j, image.w)];
  }
  const float w00 = (1 - fy) * (1 - fx), w01 = (1 - fy) * fx, w10 = fy * (1 - fx), w11 = fy * fx;
  for (int i = 0; i < side; ++i) {
    const float *upper = memory + i * (side + 1), *lower = upper + side + 1;
    for (int j = 0; j < side; ++j)
      out[i * out_row + j] = w00 * upper[j] + w01 * upper[j + 1] + w10 * lower[j] + w11 * lower[j + 1];
  }
}

// Sums in lanes, so that their order is fixed and vectors can hold them.
struct LaneSum {
  float lane[kLane] = {};

  float total() const {
    return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
  }
};

// A window of a: pixels and gradients, rows of `row` numbers, 0 behind the window. Gradients outside a are 0.
class Template {
 public:
  Template(const TrackImage& image, float x, float y, int window)
      : window_(window), row_((window + kLane - 1) / kLane * kLane) {
    const int wide = window + 2;
    const auto half = static_cast<float>(window / 2);
    alignas(64) float patch[(kMaxTrackWindow + 2) * (kMaxTrackWindow + 2)];
    sample_square(image, y - half - 1, x - half - 1, wide, memory_, patch, wide);
    std::fill_n(pixel_, window * row_, 0.0f);
    std::fill_n(gx_, window * row_, 0.0f);
    std::fill_n(gy_, window * row_, 0.0f);
    LaneSum xx, xy, yy;
    for (int i = 0; i < window; ++i) {
      const float *above = patch + i * wide, *here = above + wide, *below = here + wide;
      float *pixel = pixel_ + i * row_, *gx = gx_ + i * row_, *gy = gy_ + i * row_;
      for (int j = 0; j < window; ++j) pixel[j] = here[j + 1];
      const float at_y = y - half + static_cast<float>(i), at_x = x - half;
      if (!(at_y >= 0 && at_y <= static_cast<float>(image.h - 1))) continue;  // mirrored pixels tell nothing
      for (int j = 0; j < window; ++j) {
        gx[j] = (3 * (above[j + 2] - above[j] + below[j + 2] - below[j]) + 10 * (here[j + 2] - here[j])) / 32;
        gy[j] =
            (3 * (below[j] - above[j] + below[j + 2] - above[j + 2]) + 10 * (below[j + 1] - above[j + 1])) /
            32;
      }
      for (int j = 0; j < window; ++j) {
        const float column = at_x + static_cast<float>(j);
        if (!(column >= 0 && column <= static_cast<float>(image.w - 1))) gx[j] = gy[j] = 0;
      }
      for (int j = 0; j < row_; j += kLane) {
        for (int k = 0; k < kLane; ++k) {
          xx.lane[k] += gx[j + k] * gx[j + k];
          xy.lane[k] += gx[j + k] * gy[j + k];
          yy.lane[k] += gy[j + k] * gy[j + k];
        }
      }
    }
    xx_ = xx.total(), xy_ = xy.total(), yy_ = yy.total();
  }

  float least_eigenvalue() const {
    const float difference = xx_ - yy_;
    const float root = std::sqrt(difference * difference + 4 * xy_ * xy_);
    return (xx_ + yy_ - root) / static_cast<float>(2 * window_ * window_);
  }
  float determinant() const { return xx_ * yy_ - xy_ * xy_; }

  // The step from where the window's centre lies in b now.
  std::pair<float, float> step(const TrackImage& b, float x, float y) {
    sample(b, x, y);
    LaneSum by_x, by_y;
    for (int i = 0; i < window_ * row_; i += kLane) {
      for (int k = 0; k < kLane; ++k) {
        const float difference = pixel_[i + k] - other_[i + k];
        by_x.lane[k] += difference * gx_[i + k];
        by_y.lane[k] += difference * gy_[i + k];
      }
    }
    const float bx = by_x.total(), by = by_y.total(), scale = 1 / determinant();
    return {(yy_ * bx - xy_ * by) * scale, (xx_ * by - xy_ * bx) * scale};
  }

  float mean_difference(const TrackImage& b, float x, float y) {
    sample(b, x, y);
    float sum = 0;
    for (int i = 0; i < window_; ++i)
      for (int j = 0; j < window_; ++j) sum += std::abs(pixel_[i * row_ + j] - other_[i * row_ + j]);
    return sum / static_cast<float>(window_ * window_);
  }

 private:
  void sample(const TrackImage& b, float x, float y) {
    const auto half = static_cast<float>(window_ / 2);
    for (int i = 0; i < window_; ++i) std::fill_n(other_ + i * row_ + window_, row_ - window_, 0.0f);
    sample_square(b, y - half, x - half, window_, memory_, other_, row_);
  }

  int window_, row_;
  float xx_, xy_, yy_;
  alignas(64) float pixel_[kMaxTrackWindow * kMaxRow], gx_[kMaxTrackWindow * kMaxRow],
      gy_[kMaxTrackWindow * kMaxRow], other_[kMaxTrackWindow * kMaxRow],
      memory_[(kMaxTrackWindow + 3) * (kMaxTrackWindow + 3)];
};

// Whether the window around (x, y) begins in the picture or up to its own extent before it, as OpenCV asks.
bool is_near(const TrackImage& image, float x, float y, int window) {
  const auto half = static_cast<float>(window / 2), extent = static_cast<float>(window);
  const float left = std::floor(x - half), top = std::floor(y - half);
  return left >= -extent && top >= -extent && left < static_cast<float>(image.w) &&
         top < static_cast<float>(image.h);
}

bool track(const TrackImage& a, const TrackImage& b, const TrackParams& params, const float* point,
           float* shifted, float* error) {
  if (!is_near(a, point[0], point[1], params.window)) return false;
  Template window(a, point[0], point[1], params.window);
  const float eigenvalue = window.least_eigenvalue() * (1.0f / 1024);
  // A coarse level that shows nothing leaves it to the finer ones.
  if (!(eigenvalue >= params.min_eigenvalue) || !(window.determinant() > 1e-6f)) return !params.finest;
  float x = shifted[0], y = shifted[1], last_x = 0, last_y = 0;
  for (int i = 0; i < params.max_iterations; ++i) {
    if (!is_near(b, x, y, params.window)) return !params.finest;
    const auto [dx, dy] = window.step(b, x, y);
    x += dx, y += dy;
    if (dx * dx + dy * dy <= params.epsilon * params.epsilon) break;
    if (i > 0 && std::abs(dx + last_x) < 0.01f && std::abs(dy + last_y) < 0.01f) {  // to and fro
      x -= dx / 2, y -= dy / 2;
      break;
    }
    last_x = dx, last_y = dy;
  }
  if (!is_near(b, x, y, params.window)) return !params.finest;
  shifted[0] = x, shifted[1] = y;
  if (params.finest) *error = window.mean_difference(b, x, y);
  return true;
}

}  // namespace

void horn_schunck(const FlowTerms& terms, int iterations, float* u, float* v) {
  const int64_t n = terms.h * terms.w;
  const AlignedBuffer memory(2 * static_cast<size_t>(n) * sizeof(float));
  float *from_u = u, *from_v = v, *to_u = memory.as<float>(), *to_v = to_u + n;
  const int64_t grain = std::max<int64_t>(1, (1 << 14) / terms.w);
  for (int i = 0; i < iterations; ++i) {
    parallel_for(terms.h, grain, [&](int64_t begin, int64_t end) {
      for (int64_t y = begin; y < end; ++y) step_row(terms, y, from_u, from_v, to_u, to_v);
    });
    std::swap(from_u, to_u);
    std::swap(from_v, to_v);
  }
  if (from_u == u) return;
  std::copy_n(from_u, n, u);
  std::copy_n(from_v, n, v);
}

void lucas_kanade(const TrackImage& a, const TrackImage& b, const TrackParams& params, int64_t n,
                  const float* points, float* shifted, uint8_t* found, float* errors) {
  parallel_for(n, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (found[i]) found[i] = track(a, b, params, points + 2 * i, shifted + 2 * i, errors + i);
  });
}

}  // namespace pyvision

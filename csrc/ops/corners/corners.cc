// SPDX-License-Identifier: Apache-2.0
#include "ops/corners/corners.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

constexpr int64_t kBandRows = 48;  // a share of work; up to block + 3 more are looked at for it

// The responses of rows one after the other.
class Responses {
 public:
  Responses(const AnyImage& image, const CornerParams& params)
      : image_(image),
        params_(params),
        pitch_(image.w + params.block),
        grey_(3 * (image.w + 2)),
        products_(params.block * 3 * pitch_),
        sums_(3 * pitch_) {
    std::fill_n(kept_, kMaxCornerBlock, int64_t{-1});
  }

  // The greatest of row y, which goes to out (w,).
  float row(int64_t y, float* out) {
    const int64_t w = image_.w, block = params_.block, before = block / 2;
    const float* rows[3][kMaxCornerBlock];
    for (int64_t i = 0; i < block; ++i) {
      const float* const made = products(mirrored(y - before + i, image_.h));
      for (int64_t plane = 0; plane < 3; ++plane) rows[plane][i] = made + plane * pitch_;
    }
    for (int64_t plane = 0; plane < 3; ++plane) {
      float* const sums = sums_ + plane * pitch_ + before;
      corners_kernels().sum_rows(rows[plane], block, w, sums);
      for (int64_t x = 1; x <= before; ++x) sums[-x] = sums[mirrored(-x, w)];
      for (int64_t x = w; x < w + block - 1 - before; ++x) sums[x] = sums[mirrored(x, w)];
    }
    const double unit = 1 / (4 * static_cast<double>(block) * 255);
    return corners_kernels().respond(sums_, sums_ + pitch_, sums_ + 2 * pitch_, block,
                                     static_cast<float>(unit * unit), params_.harris ? &params_.k : nullptr,
                                     w, out);
  }

 private:
  // The products of row y; those of `block` rows are kept, or where the mirrored picture asks for others made
  // again.
  const float* products(int64_t y) {
    const int64_t slot = y % params_.block, w = image_.w;
    float* const target = products_ + slot * 3 * pitch_;
    if (kept_[slot] == y) return target;
    kept_[slot] = y;
    const float* rows[3];
    for (int64_t i = 0; i < 3; ++i) {
      float* const row = grey_ + i * (w + 2) + 1;
      image_.read(mirrored(y - 1 + i, image_.h), row);
      row[-1] = row[mirrored(-1, w)];
      row[w] = row[mirrored(w, w)];
      rows[i] = row;
    }
    corners_kernels().products(rows[0], rows[1], rows[2], w, target, target + pitch_, target + 2 * pitch_);
    return target;
  }

  const AnyImage& image_;
  const CornerParams& params_;
  int64_t pitch_;
  Scratch<float> grey_, products_, sums_;
  int64_t kept_[kMaxCornerBlock];  // the row that each slot holds
};

template <class Body>
void for_each_band(int64_t h, Body body) {
  parallel_for((h + kBandRows - 1) / kBandRows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) body(b, b * kBandRows, std::min(h, (b + 1) * kBandRows));
  });
}

// side x side pixels from (x, y) on, bilinear; beyond the picture its border goes on.
void sample(const AnyImage& image, double x, double y, int64_t side, float* out) {
  const double left = std::floor(x), top = std::floor(y);
  const auto u = static_cast<float>(x - left), v = static_cast<float>(y - top);
  const auto inside = [](double first, int64_t i, int64_t extent) {
    return std::clamp<int64_t>(static_cast<int64_t>(first) + i, 0, extent - 1);
  };
  for (int64_t i = 0; i < side; ++i) {
    const int64_t above = inside(top, i, image.h), below = inside(top, i + 1, image.h);
    for (int64_t j = 0; j < side; ++j) {
      const int64_t before = inside(left, j, image.w), after = inside(left, j + 1, image.w);
      const float upper = image.at(above, before) * (1 - u) + image.at(above, after) * u;
      const float lower = image.at(below, before) * (1 - u) + image.at(below, after) * u;
      out[i * side + j] = upper * (1 - v) + lower * v;
    }
  }
}

// Some points by the squares they lie in, which are no smaller than the distance: neighbours lie in
// neighbouring squares.
class Squares {
 public:
  Squares(const float* xy, int64_t n, double side) : xy_(xy), side_(side), next_(static_cast<size_t>(n)) {
    double right = left_ = x(0), bottom = top_ = y(0);
    for (int64_t i = 1; i < n; ++i) {
      left_ = std::min(left_, x(i)), right = std::max(right, x(i));
      top_ = std::min(top_, y(i)), bottom = std::max(bottom, y(i));
    }
    // At most some squares per point, however far apart they lie.
    side_ = std::max({side_, (right - left_) / (2 * std::sqrt(static_cast<double>(n)) + 1),
                      (bottom - top_) / (2 * std::sqrt(static_cast<double>(n)) + 1), 1e-3});
    columns_ = static_cast<int64_t>((right - left_) / side_) + 1;
    rows_ = static_cast<int64_t>((bottom - top_) / side_) + 1;
    first_.assign(static_cast<size_t>(columns_ * rows_), -1);
  }

  bool is_near(int64_t i, double distance) const {
    const int64_t c = column(i), r = row(i);
    for (int64_t v = std::max<int64_t>(r - 1, 0); v <= std::min(r + 1, rows_ - 1); ++v) {
      for (int64_t u = std::max<int64_t>(c - 1, 0); u <= std::min(c + 1, columns_ - 1); ++u) {
        for (int64_t k = first_[static_cast<size_t>(v * columns_ + u)]; k >= 0;
             k = next_[static_cast<size_t>(k)]) {
          const double dx = x(i) - x(k), dy = y(i) - y(k);
          if (dx * dx + dy * dy < distance * distance) return true;
        }
      }
    }
    return false;
  }

  void add(int64_t i) {
    int64_t& first = first_[static_cast<size_t>(row(i) * columns_ + column(i))];
    next_[static_cast<size_t>(i)] = first;
    first = i;
  }

 private:
  double x(int64_t i) const { return static_cast<double>(xy_[2 * i]); }
  double y(int64_t i) const { return static_cast<double>(xy_[2 * i + 1]); }
  int64_t column(int64_t i) const { return static_cast<int64_t>((x(i) - left_) / side_); }
  int64_t row(int64_t i) const { return static_cast<int64_t>((y(i) - top_) / side_); }

  const float* xy_;
  double side_, left_, top_;
  int64_t columns_, rows_;
  std::vector<int64_t> first_, next_;
};

}  // namespace

void corner_response(const AnyImage& image, const CornerParams& params, float* y) {
  for_each_band(image.h, [&](int64_t, int64_t begin, int64_t end) {
    Responses responses(image, params);
    for (int64_t i = begin; i < end; ++i) responses.row(i, y + i * image.w);
  });
}

std::vector<Corner> find_corners(const AnyImage& image, const CornerParams& params, double quality,
                                 const PixelMask& mask, double min_distance, int64_t most) {
  const int64_t w = image.w, h = image.h;
  struct Band {
    std::vector<Corner> corners;
    float greatest = 0;
  };
  std::vector<Band> bands(static_cast<size_t>((h + kBandRows - 1) / kBandRows));
  for_each_band(h, [&](int64_t b, int64_t begin, int64_t end) {
    Band& band = bands[static_cast<size_t>(b)];
    Responses responses(image, params);
    Scratch<float> memory(3 * w);
    Scratch<int32_t> columns(w);
    const auto respond = [&](int64_t y) {
      float* const row = memory + y % 3 * w;
      const float greatest = responses.row(y, row);
      if (mask.data == nullptr) {
        band.greatest = std::max(band.greatest, greatest);
      } else {
        for (int64_t x = 0; x < w; ++x)
          if (mask.row(y)[x] != 0) band.greatest = std::max(band.greatest, row[x]);
      }
    };
    const int64_t first = std::max<int64_t>(begin - 1, 0);
    int64_t made = first;
    for (int64_t y = begin; y < end; ++y) {
      for (; made <= std::min(y + 1, h - 1); ++made) respond(made);
      if (y == 0 || y == h - 1 || w < 3) continue;
      const auto row_of = [&](int64_t i) { return memory + i % 3 * w; };
      const int64_t count = corners_kernels().maxima(row_of(y - 1), row_of(y), row_of(y + 1), w, columns);
      for (int64_t i = 0; i < count; ++i) {
        const int32_t x = columns[i];
        if (mask.data == nullptr || mask.row(y)[x] != 0)
          band.corners.push_back({static_cast<float>(x), static_cast<float>(y), row_of(y)[x]});
      }
    }
  });
  float greatest = 0;
  for (const Band& band : bands) greatest = std::max(greatest, band.greatest);
  const auto least = static_cast<float>(static_cast<double>(greatest) * quality);
  std::vector<Corner> corners;
  for (const Band& band : bands)
    for (const Corner& c : band.corners)
      if (c.response > least) corners.push_back(c);
  InterruptPoll poll;
  std::stable_sort(corners.begin(), corners.end(), [&](const Corner& a, const Corner& b) {
    poll();
    return a.response > b.response;
  });
  const auto count = static_cast<int64_t>(corners.size());
  if (min_distance > 0) {
    std::vector<float> xy;
    for (const Corner& c : corners) xy.push_back(c.x), xy.push_back(c.y);
    std::vector<Corner> apart;
    for (const int64_t i : keep_apart(xy.data(), count, min_distance, most > 0 ? most : count))
      apart.push_back(corners[static_cast<size_t>(i)]);
    return apart;
  }
  if (most > 0 && most < count) corners.resize(static_cast<size_t>(most));
  return corners;
}

void refine_corners(const AnyImage& image, int64_t window, int64_t max_iterations, double epsilon, float* xy,
                    int64_t n) {
  const int64_t side = 2 * window + 1, wide = side + 2;
  std::vector<double> weights(static_cast<size_t>(side));
  for (int64_t i = 0; i < side; ++i) {
    const double t = static_cast<double>(i - window) / static_cast<double>(window);
    weights[static_cast<size_t>(i)] = std::exp(-t * t);
  }
  const auto refine = [&](float* p, float* patch) {
    const double start[2] = {static_cast<double>(p[0]), static_cast<double>(p[1])};
    double x = start[0], y = start[1];
    for (int64_t step = 0; step < max_iterations; ++step) {
      if (step % 16 == 15) stop_if_interrupted();
      sample(image, x - static_cast<double>(window + 1), y - static_cast<double>(window + 1), wide, patch);
      double a = 0, b = 0, c = 0, u = 0, v = 0;
      for (int64_t i = 0; i < side; ++i) {
        for (int64_t j = 0; j < side; ++j) {
          const float* const at = patch + (i + 1) * wide + j + 1;
          const auto dx = static_cast<double>(at[1] - at[-1]), dy = static_cast<double>(at[wide] - at[-wide]);
          const double weight = weights[static_cast<size_t>(i)] * weights[static_cast<size_t>(j)];
          const double xx = dx * dx * weight, xy_ = dx * dy * weight, yy = dy * dy * weight;
          const double px = static_cast<double>(j - window), py = static_cast<double>(i - window);
          a += xx, b += xy_, c += yy;
          u += xx * px + xy_ * py;
          v += xy_ * px + yy * py;
        }
      }
      const double det = a * c - b * b;
      if (std::abs(det) <= DBL_EPSILON * DBL_EPSILON) break;
      const double dx = (c * u - b * v) / det, dy = (a * v - b * u) / det;
      x += dx, y += dy;
      if (!(x >= 0 && y >= 0 && x < static_cast<double>(image.w) && y < static_cast<double>(image.h))) break;
      if (dx * dx + dy * dy <= epsilon * epsilon) break;
    }
    const auto reach = static_cast<double>(window);
    if (!(std::abs(x - start[0]) <= reach && std::abs(y - start[1]) <= reach)) return;
    p[0] = static_cast<float>(x);
    p[1] = static_cast<float>(y);
  };
  parallel_for(n, 8, [&](int64_t begin, int64_t end) {
    Scratch<float> patch(wide * wide);
    for (int64_t i = begin; i < end; ++i) refine(xy + 2 * i, patch);
  });
}

std::vector<int64_t> keep_apart(const float* xy, int64_t n, double distance, int64_t most) {
  std::vector<int64_t> kept;
  if (n == 0) return kept;
  Squares squares(xy, n, distance);
  InterruptPoll poll;
  for (int64_t i = 0; i < n && static_cast<int64_t>(kept.size()) < most; ++i) {
    poll();
    if (squares.is_near(i, distance)) continue;
    squares.add(i);
    kept.push_back(i);
  }
  return kept;
}

std::vector<int64_t> keep_even(const float* xy, int64_t n, int64_t count) {
  const int64_t most = std::min(n, count);
  std::vector<int64_t> best = keep_apart(xy, n, 0, most);
  double apart = 0, too_far = 0;
  for (int64_t i = 0; i < 2 * n; ++i) too_far = std::max(too_far, std::abs(static_cast<double>(xy[i])));
  too_far *= 3;  // beyond the greatest distance there can be
  constexpr int kSteps = 24;
  for (int i = 0; i < kSteps && most > 1; ++i) {
    const double distance = (apart + too_far) / 2;
    std::vector<int64_t> kept = keep_apart(xy, n, distance, most);
    const bool enough = static_cast<int64_t>(kept.size()) == most;
    (enough ? apart : too_far) = distance;
    if (enough) best = std::move(kept);
  }
  return best;
}

}  // namespace pyvision

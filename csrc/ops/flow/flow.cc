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

constexpr int64_t kMostSteps = 25;  // of a tile at once: what they need fits in L2
constexpr int64_t kTileColumns = 512, kLeastTileRows = 64;

struct Range {
  int64_t begin, end;

  Range grown(int64_t by, int64_t extent) const {
    return {std::max<int64_t>(begin - by, 0), std::min(end + by, extent)};
  }
  int64_t size() const { return end - begin; }
  bool holds(int64_t i) const { return i >= begin && i < end; }
};

// Steps 1 to `steps` of a tile, each of them a row behind the one before. They begin with what lies around
// it, and of that a pixel more on every side is wrong after each of them: tiles need nothing of each other.
class FlowTile {
 public:
  FlowTile(const FlowTerms& terms, Range rows, Range columns, int64_t steps)
      : terms_(terms),
        rows_(rows),
        columns_(columns),
        steps_(steps),
        made_(columns.grown(steps, terms.w)),
        pitch_((made_.size() + kFlowMargin - 1) / kFlowMargin * kFlowMargin + 2 * kFlowMargin),
        memory_(rows_of(steps) * pitch_) {
    std::fill_n(memory_.get(), rows_of(steps) * pitch_, 0.0f);  // margins are computed with: no subnormals
  }

  void run(const float* const from[2], float* const to[2]) {
    const Range whole = rows_.grown(steps_, terms_.h);
    for (int64_t front = whole.begin; front < rows_.end + steps_; ++front) {
      if (front < whole.end) read(from, front);
      for (int64_t step = 1; step <= steps_; ++step) {
        const int64_t y = front - step;
        if (rows_.grown(steps_ - step, terms_.h).holds(y)) make(step, y, to);
      }
    }
  }

 private:
  static int64_t rows_of(int64_t steps) { return 6 * steps + 3 * (steps + 1); }
  // Row y of u (0) or v (1) behind a step; there are three of each in turn.
  float* row_of(int64_t step, int64_t field, int64_t y) const {
    return memory_ + ((2 * step + field) * 3 + y % 3) * pitch_ + kFlowMargin;
  }
  float* term_of(int64_t term, int64_t y) const {
    return memory_ + (6 * steps_ + 3 * (y % (steps_ + 1)) + term) * pitch_ + kFlowMargin;
  }
  // The first and the last pixel stand beside themselves: what the picture asks for where it ends.
  void close(float* row) const {
    row[-1] = row[0];
    row[made_.size()] = row[made_.size() - 1];
  }

  void read(const float* const from[2], int64_t y) {
    const int64_t first = y * terms_.w + made_.begin;
    for (int64_t field = 0; field < 2; ++field) {
      float* const row = row_of(0, field, y);
      std::copy_n(from[field] + first, made_.size(), row);
      close(row);
    }
    flow_kernels().prepare(terms_, first, made_.size(), term_of(0, y), term_of(1, y), term_of(2, y));
  }

  void make(int64_t step, int64_t y, float* const to[2]) {
    const bool last = step == steps_;
    const int64_t skipped = last ? columns_.begin - made_.begin : 0;
    const auto rows = [&](int64_t field) {
      const auto row = [&](int64_t i) {
        return row_of(step - 1, field, std::clamp<int64_t>(i, 0, terms_.h - 1)) + skipped;
      };
      return FlowRows{row(y - 1), row(y), row(y + 1)};
    };
    const auto out = [&](int64_t field) {
      return last ? to[field] + y * terms_.w + columns_.begin : row_of(step, field, y);
    };
    flow_kernels().step(rows(0), rows(1), term_of(0, y) + skipped, term_of(1, y) + skipped,
                        term_of(2, y) + skipped, last ? columns_.size() : made_.size(), out(0), out(1));
    if (last) return;
    close(out(0));
    close(out(1));
  }

  const FlowTerms& terms_;
  Range rows_, columns_;
  int64_t steps_;
  Range made_;  // columns
  int64_t pitch_;
  Scratch<float> memory_;
};

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

void flow_terms(const float* a, const float* b, const float* u, const float* v, int64_t h, int64_t w,
                float* ix, float* iy, float* it) {
  const auto bottom = static_cast<float>(h - 1), right = static_cast<float>(w - 1);
  parallel_for(h, std::max<int64_t>(1, (1 << 15) / w), [&](int64_t begin, int64_t end) {
    const int64_t pitch = w + 4;
    const Scratch<float> memory(5 * pitch);
    // The means of row y, the first and the last of them repeated; five rows in turn.
    const auto row_of = [&](int64_t y) { return memory + (y + 5) % 5 * pitch + 2; };
    const auto average = [&](int64_t y) {
      const int64_t first = std::clamp<int64_t>(y, 0, h - 1) * w;
      float* const row = row_of(y);
      for (int64_t x = 0; x < w; ++x) row[x] = (a[first + x] + b[first + x]) / 2;
      row[-2] = row[-1] = row[0];
      row[w] = row[w + 1] = row[w - 1];
    };
    for (int64_t y = begin - 2; y < begin + 2; ++y) average(y);
    for (int64_t y = begin; y < end; ++y) {
      average(y + 2);
      const float *far_above = row_of(y - 2), *above = row_of(y - 1), *row = row_of(y),
                  *below = row_of(y + 1), *far_below = row_of(y + 2);
      const auto of_row = static_cast<float>(y);
      const auto slope = [](float far_behind, float behind, float ahead, float far_ahead) {
        return (8 * (ahead - behind) - (far_ahead - far_behind)) / 12;
      };
      const int64_t first = y * w;
      float *to_x = ix + first, *to_y = iy + first, *to_t = it + first;
      const float *from_a = a + first, *from_b = b + first, *flow_x = u + first, *flow_y = v + first;
#pragma GCC ivdep
      for (int64_t x = 0; x < w; ++x) {
        const float there_x = static_cast<float>(static_cast<int32_t>(x)) + flow_x[x],
                    there_y = of_row + flow_y[x];
        const bool inside = (there_x >= 0) & (there_y >= 0) & (there_x <= right) & (there_y <= bottom);
        to_x[x] = inside ? slope(row[x - 2], row[x - 1], row[x + 1], row[x + 2]) : 0;
        to_y[x] = inside ? slope(far_above[x], above[x], below[x], far_below[x]) : 0;
        to_t[x] = inside ? from_b[x] - from_a[x] : 0;
      }
    }
  });
}

void horn_schunck(const FlowTerms& terms, int iterations, float* u, float* v) {
  const int64_t n = terms.h * terms.w, strips = (terms.w + kTileColumns - 1) / kTileColumns;
  // Enough tiles for all threads; taller ones share more of what their surroundings cost.
  const int64_t tiles = 4 * num_threads();
  const int64_t tall = std::max((terms.h * strips + tiles - 1) / tiles, kLeastTileRows);
  const int64_t bands = (terms.h + tall - 1) / tall;
  const AlignedBuffer memory(2 * static_cast<size_t>(n) * sizeof(float));
  float *from[2] = {u, v}, *to[2] = {memory.as<float>(), memory.as<float>() + n};
  for (int64_t steps = 0, left = iterations; left > 0; left -= steps) {
    steps = std::min(left, kMostSteps);
    parallel_for(bands * strips, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t top = i / strips * tall, first = i % strips * kTileColumns;  // [0, h), [0, w)
        FlowTile tile(terms, {top, std::min(top + tall, terms.h)},
                      {first, std::min(first + kTileColumns, terms.w)}, steps);
        tile.run(from, to);
      }
    });
    std::swap(from, to);
  }
  if (from[0] == u) return;
  std::copy_n(from[0], n, u);
  std::copy_n(from[1], n, v);
}

void lucas_kanade(const TrackImage& a, const TrackImage& b, const TrackParams& params, int64_t n,
                  const float* points, float* shifted, uint8_t* found, float* errors) {
  parallel_for(n, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (found[i]) found[i] = track(a, b, params, points + 2 * i, shifted + 2 * i, errors + i);
  });
}

}  // namespace pyvision

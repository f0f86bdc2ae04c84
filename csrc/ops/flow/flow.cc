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

constexpr int kMaxPatch = kMaxTrackWindow + 2;

// The square of `side` pixels whose first one lies at (y, x). memory: (side + 1)^2, for what is mirrored
TrackSquare square_at(const TrackImage& image, float y, float x, int side, float* memory) {
  const auto top = static_cast<int64_t>(std::floor(y)), left = static_cast<int64_t>(std::floor(x));
  const float fy = y - static_cast<float>(top), fx = x - static_cast<float>(left);
  const bool inside = top >= 0 && left >= 0 && top + side < image.h && left + side < image.w;
  for (int i = 0; i <= side && !inside; ++i) {
    const float* const row = image.data + mirrored(top + i, image.h) * image.w;
    for (int j = 0; j <= side; ++j) memory[i * (side + 1) + j] = row[mirrored(left + j, image.w)];
  }
  return {inside ? image.data + top * image.w + left : memory,
          inside ? image.w : side + 1,
          {(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx}};
}

// A window of a, dense: pixels and gradients. Gradients outside a are 0: mirrored pixels tell nothing.
class Template {
 public:
  Template(const TrackImage& image, float x, float y, int window) : window_(window) {
    const int wide = window + 2;
    const float half = half_of(window), top = y - half, left = x - half;
    float patch[kMaxPatch * kMaxPatch];
    kernels_.sample(square_at(image, top - 1, left - 1, wide, memory_), wide, patch);
    for (int i = 0; i < window; ++i) std::copy_n(patch + (i + 1) * wide + 1, window, pixel_ + i * window);
    kernels_.slopes(patch, window, gx_, gy_);
    const auto end = static_cast<float>(window - 1);
    const auto bottom = static_cast<float>(image.h - 1), right = static_cast<float>(image.w - 1);
    if (!(top >= 0 && left >= 0 && top + end <= bottom && left + end <= right))
      for (int i = 0; i < window; ++i)
        for (int j = 0; j < window; ++j) {
          const float row = top + static_cast<float>(i), column = left + static_cast<float>(j);
          if (!(row >= 0 && column >= 0 && row <= bottom && column <= right))
            gx_[i * window + j] = gy_[i * window + j] = 0;
        }
    float sums[3];
    kernels_.moments(gx_, gy_, window, sums);
    xx_ = sums[0], xy_ = sums[1], yy_ = sums[2];
  }

  float least_eigenvalue() const {
    const float difference = xx_ - yy_;
    const float root = std::sqrt(difference * difference + 4 * xy_ * xy_);
    return (xx_ + yy_ - root) / static_cast<float>(2 * window_ * window_);
  }
  float determinant() const { return xx_ * yy_ - xy_ * xy_; }

  // The step from where the window's centre lies in b now.
  std::pair<float, float> step(const TrackImage& b, float x, float y) {
    float by[2];
    kernels_.project(around(b, x, y), pixel_, gx_, gy_, window_, by);
    const float scale = 1 / determinant();
    return {(yy_ * by[0] - xy_ * by[1]) * scale, (xx_ * by[1] - xy_ * by[0]) * scale};
  }

  float mean_difference(const TrackImage& b, float x, float y) {
    return kernels_.difference(around(b, x, y), pixel_, window_) / static_cast<float>(window_ * window_);
  }

 private:
  static float half_of(int window) { return static_cast<float>(window / 2); }
  TrackSquare around(const TrackImage& b, float x, float y) {
    return square_at(b, y - half_of(window_), x - half_of(window_), window_, memory_);
  }

  const FlowKernels& kernels_ = flow_kernels();
  int window_;
  float xx_, xy_, yy_;
  float pixel_[kMaxTrackWindow * kMaxTrackWindow], gx_[kMaxTrackWindow * kMaxTrackWindow],
      gy_[kMaxTrackWindow * kMaxTrackWindow], memory_[(kMaxPatch + 1) * (kMaxPatch + 1)];
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

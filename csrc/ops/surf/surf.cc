// SPDX-License-Identifier: Apache-2.0
#include "ops/surf/surf.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "core/arena.h"
#include "core/parabola.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

constexpr double kPi = 3.14159265358979323846;

int64_t lobe_of(int64_t octave, int64_t layer) { return (int64_t{2} << octave) * (layer + 1) + 1; }
int64_t radius_of(int64_t octave, int64_t layer) { return (3 * lobe_of(octave, layer) - 1) / 2; }

struct Candidate : Keypoint {
  int64_t layer, row, column;

  auto order() const { return std::make_tuple(-response, octave, layer, row, column); }
};

// Moves a maximum between the grid's points and the layers, or refuses it. rows: of three layers three each
bool refine(const float* const rows[3][3], int64_t column, double step[3]) {
  const auto at = [&](int64_t layer, int64_t row, int64_t dx) {
    return static_cast<double>(rows[layer + 1][row + 1][column + dx]);
  };
  return parabola_of(at).step_to_extremum(step) <= 1;
}

struct Tile {
  int64_t row, column;  // of the octave's grid
};

// A row of responses has room for a vector before its first column, and for some behind its last.
constexpr int64_t kBefore = 16, kBehind = 32;

// The first two layers of an octave: every second response of the second and the last layer of that below,
// where their filters' rows lie in the picture.
struct SharedLayers {
  static constexpr int64_t kLayers = 2;
  float* data = nullptr;
  int64_t rows = 0, columns = 0;

  int64_t pitch() const { return (kBefore + columns + kBehind + 15) / 16 * 16; }
  int64_t size() const { return kLayers * rows * pitch(); }
  float* row(int64_t layer, int64_t i) const { return data + (layer * rows + i) * pitch() + kBefore; }
};

void find_maxima(const SurfImage& image, const SurfParams& params, const PixelMask& mask, int64_t octave,
                 const Tile& tile, const SharedLayers& given, const SharedLayers& next,
                 std::vector<Candidate>* found) {
  const IntegralImage& sums = image.integral;
  const int64_t step = int64_t{1} << octave, w = sums.w, h = sums.h;
  const auto end_of = [=](int64_t start, int64_t extent, int64_t pixels) {
    return std::min(start + extent, (pixels + step - 1) / step - 1);
  };
  const int64_t top = std::max<int64_t>(tile.row, 1), bottom = end_of(tile.row, kSurfTileRows, h);
  const int64_t left = std::max<int64_t>(tile.column, 1), right = end_of(tile.column, kSurfTileColumns, w);
  if (top >= bottom || left >= right) return;
  constexpr int64_t kColumns = kBefore + kSurfTileColumns + kBehind;
  const int64_t origin = tile.column - kBefore;
  alignas(64) float memory[3 * kSurfLayers * kColumns];
  const auto row_of = [&](int64_t layer, int64_t i) { return memory + (3 * layer + i % 3) * kColumns; };
  // Columns of a row whose filters lie in the picture.
  struct Span {
    int64_t first, last;
  };
  const auto span_of = [=](int64_t reach, int64_t least, int64_t most) {
    return Span{std::max((reach + step - 1) / step, least) - origin,
                std::min((w - reach + step - 1) / step, most) - origin};
  };
  // The responses of a row at hand from `origin` on
  const auto respond = [&](int64_t layer, int64_t i) -> const float* {
    const int64_t l = lobe_of(octave, layer), r = radius_of(octave, layer), y = i * step, half = l / 2;
    const Span span = span_of(r, left - 1, right + 1);
    float* const out = row_of(layer, i);
    if (y < r || y + r >= h || span.first >= span.last) {
      std::fill_n(out, kColumns, 0.0f);
      return out;
    }
    if (layer < SharedLayers::kLayers && octave > 0) return given.row(layer, i) + origin;
    const int64_t offsets[10] = {-r, 1 - l, -l, -half, 0, 1, half + 1, l, l + 1, r + 1};
    const int32_t* lines[10];
    for (int k = 0; k < 10; ++k) lines[k] = sums.row(y + offsets[k]);
    surf_kernels().respond(lines, l, octave, origin + span.first, span.last - span.first, image.unit,
                           out + span.first);
    std::fill_n(out, span.first, 0.0f);
    std::fill(out + span.last, out + kColumns, 0.0f);
    return out;
  };
  const float* rows_at[kSurfLayers][3] = {};
  const auto next_row = [&](int64_t i) {
    for (int64_t layer = 0; layer < kSurfLayers; ++layer) {
      const float** const rows = rows_at[layer];
      rows[0] = rows[1], rows[1] = rows[2], rows[2] = respond(layer, i);
      if (next.data != nullptr && layer % 2 == 1 && i % 2 == 0 && i >= tile.row && i < bottom)
        surf_kernels().halve(rows[2] + kBefore, (right + 1 - tile.column) / 2,
                             next.row(layer / 2, i / 2) + tile.column / 2);
    }
  };
  for (int64_t i = top - 1; i <= top; ++i) next_row(i);
  for (int64_t i = top; i < bottom; ++i) {
    next_row(i + 1);
    SurfPeaks peaks[2];
    for (int64_t k = 0; k < 2; ++k) {
      const int64_t reach = radius_of(octave, k + 2);  // the next layer's filter has to fit
      const Span span = span_of(reach, left, right);
      const bool fits = i * step >= reach && i * step + reach < h;
      peaks[k].first = span.first, peaks[k].last = fits ? span.last : span.first;
    }
    if (peaks[0].first >= peaks[0].last) continue;
    surf_kernels().peaks(rows_at, static_cast<float>(params.threshold), peaks);
    for (int64_t layer = 1; layer + 1 < kSurfLayers; ++layer) {
      const auto* const nine = rows_at + (layer - 1);
      for (int64_t k = 0; k < peaks[layer - 1].count; ++k) {
        const int64_t x = peaks[layer - 1].columns[k];
        double move[3];
        if (!refine(nine, x, move)) continue;
        const double size =
            static_cast<double>(3 * lobe_of(octave, layer)) + move[2] * static_cast<double>(6 * step);
        Candidate c;
        c.x = static_cast<float>((static_cast<double>(origin + x) + move[0]) * static_cast<double>(step));
        c.y = static_cast<float>((static_cast<double>(i) + move[1]) * static_cast<double>(step));
        c.size = static_cast<float>(size);
        c.angle = -1;
        c.response = nine[1][1][x];
        c.octave = static_cast<int32_t>(octave);
        c.layer = layer, c.row = i, c.column = origin + x;
        if (!is_masked(mask, c.x, c.y)) found->push_back(c);
      }
    }
  }
}

const SurfWeights& surf_weights() {
  static const SurfWeights weights = [] {
    const auto gaussian = [](double x, double y, double sigma) {
      return static_cast<float>(std::exp(-(x * x + y * y) / (2 * sigma * sigma)));
    };
    SurfWeights w = {};
    int n = 0;
    for (int v = -6; v <= 6; ++v) {
      for (int u = -6; u <= 6; ++u) {
        if (u * u + v * v > 36) continue;
        w.angle_u[n] = static_cast<float>(u), w.angle_v[n] = static_cast<float>(v);
        w.angle[n++] = gaussian(u, v, 2.5);
      }
    }
    for (int64_t i = 0; i < kSurfPoints; ++i) {
      w.grid_u[i] = static_cast<float>(i % kSurfGrid) - (kSurfGrid - 1) / 2.0f;
      w.grid_v[i] = static_cast<float>(i / kSurfGrid) - (kSurfGrid - 1) / 2.0f;
    }
    for (int u = 0; u < kSurfCell; ++u) w.cell[u] = gaussian(u - 4, 0, 2.5);
    for (int v = 0; v < kSurfCells; ++v)
      for (int u = 0; u < kSurfCells; ++u) w.cells[v][u] = gaussian(u - 1.5, v - 1.5, 1.5);
    return w;
  }();
  return weights;
}

// reach: how many scales the farthest point is away
SurfWindow window_of(const SurfImage& image, const Keypoint& k, double angle, double half_side,
                     double reach) {
  const double scale = static_cast<double>(k.size) * (1.2 / 9);
  SurfWindow window;
  window.image = &image.integral;
  window.x = k.x, window.y = k.y;
  window.scale = static_cast<float>(scale);
  window.cosine = static_cast<float>(std::cos(angle * (kPi / 180)));
  window.sine = static_cast<float>(std::sin(angle * (kPi / 180)));
  window.half = static_cast<int32_t>(std::max(std::nearbyint(scale * half_side), 1.0));
  const double margin = reach * scale + window.half + 2;
  window.is_inside =
      k.x >= margin && k.y >= margin && k.x + margin <= image.integral.w && k.y + margin <= image.integral.h;
  return window;
}

float angle_of(const SurfImage& image, const Keypoint& k) {
  float dx, dy;
  surf_kernels().orient(window_of(image, k, 0, 2, 6), surf_weights(), &dx, &dy);
  const double degrees = std::atan2(static_cast<double>(dy), static_cast<double>(dx)) * (180 / kPi);
  const auto angle = static_cast<float>(degrees < 0 ? degrees + 360 : degrees);
  return angle < 360 ? angle : 0;
}

}  // namespace

SurfImage surf_image(const AnyImage& image, int32_t* memory) {
  const int bits = image.bytes != nullptr ? 0 : kIntegralFractionBits;
  return {integrate(image, memory), std::ldexp(1.0f, -bits)};
}

std::vector<Keypoint> surf_detect(const SurfImage& image, const SurfParams& params, const PixelMask& mask) {
  const auto points = [](int64_t pixels, int64_t octave) { return ((pixels - 1) >> octave) + 1; };
  SharedLayers shared[kSurfOctaves + 1];  // none of the first octave, and none behind the last
  int64_t size = 0;
  for (int64_t o = 1; o < params.octaves; ++o) {
    shared[o] = {nullptr, points(image.integral.h, o), points(image.integral.w, o)};
    size += shared[o].size();
  }
  const Scratch<float> memory(size);
  float* free = memory;
  for (int64_t o = 1; o < params.octaves; ++o) shared[o].data = std::exchange(free, free + shared[o].size());
  std::vector<std::vector<Candidate>> found;
  for (int64_t o = 0; o < params.octaves; ++o) {
    std::vector<Tile> tiles;
    for (int64_t y = 0; y < points(image.integral.h, o); y += kSurfTileRows)
      for (int64_t x = 0; x < points(image.integral.w, o); x += kSurfTileColumns) tiles.push_back({y, x});
    const size_t before = found.size();
    found.resize(before + tiles.size());
    parallel_for(static_cast<int64_t>(tiles.size()), 1, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
        find_maxima(image, params, mask, o, tiles[i], shared[o], shared[o + 1], &found[before + i]);
    });
  }
  struct Ranked {
    float response;  // at hand, since few are equal
    const Candidate* candidate;
  };
  size_t count_of_all = 0;
  for (const auto& tile : found) count_of_all += tile.size();
  std::vector<Ranked> candidates;
  candidates.reserve(count_of_all);
  for (const auto& tile : found)
    for (const Candidate& c : tile) candidates.push_back({c.response, &c});
  InterruptPoll poll;
  const auto before = [&](const Ranked& a, const Ranked& b) {
    poll();
    return a.response != b.response ? a.response > b.response : a.candidate->order() < b.candidate->order();
  };
  if (params.max_features > 0 && candidates.size() > static_cast<size_t>(params.max_features)) {
    const auto last = candidates.begin() + params.max_features;
    std::nth_element(candidates.begin(), last, candidates.end(), before);
    candidates.erase(last, candidates.end());
  }
  std::sort(candidates.begin(), candidates.end(), before);
  std::vector<Keypoint> keypoints;
  keypoints.reserve(candidates.size());
  for (const Ranked& c : candidates) keypoints.push_back(*c.candidate);
  return keypoints;
}

void surf_describe(const SurfImage& image, Keypoint* keypoints, int64_t n, bool orient, bool extended,
                   float* descriptors) {
  const int64_t length = extended ? 128 : 64;
  const std::vector<int64_t> order = in_reading_order(keypoints, n, image.integral.h, image.integral.w);
  parallel_for(n, 8, [&](int64_t begin, int64_t end) {
    for (int64_t k_th = begin; k_th < end; ++k_th) {
      const int64_t i = order[static_cast<size_t>(k_th)];
      Keypoint& k = keypoints[i];
      if (orient) k.angle = angle_of(image, k);
      if (descriptors == nullptr) continue;
      const double angle = k.angle > 0 ? static_cast<double>(k.angle) : 0;
      float* const values = descriptors + i * length;
      surf_kernels().describe(window_of(image, k, angle, 1, kSurfGrid * std::sqrt(0.5)), surf_weights(),
                              extended, values);
      double sums[4] = {};  // so that none waits for the one before
      for (int64_t j = 0; j < length; ++j)
        sums[j % 4] += static_cast<double>(values[j]) * static_cast<double>(values[j]);
      const double sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
      const auto unit = static_cast<float>(1 / std::max(std::sqrt(sum), 1e-7));
      for (int64_t j = 0; j < length; ++j) values[j] *= unit;
    }
  });
}

}  // namespace pyvision

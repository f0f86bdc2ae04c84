// SPDX-License-Identifier: Apache-2.0
#include "ops/brisk/brisk.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "core/parallel.h"
#include "ops/brisk/peak.h"
#include "ops/fast/fast.h"
#include "ops/grey_filters/grey_filters.h"

namespace pyvision {
namespace {

constexpr int64_t kBandRows = 32;
constexpr double kPi = 3.14159265358979323846;

struct Layer {
  GreyImage image;
  double scale;
  double step_x, step_y;  // pixels of the picture per pixel of the layer, as it was rounded
  uint8_t* scores;        // (h, w): of corners 1 + the greatest threshold, else 0

  uint8_t score(int64_t x, int64_t y) const { return scores[y * image.w + x]; }
  double to_picture_x(double x) const { return (x + 0.5) * step_x - 0.5; }
  double to_picture_y(double y) const { return (y + 0.5) * step_y - 0.5; }
  double from_picture_x(double x) const { return (x + 0.5) / step_x - 0.5; }
  double from_picture_y(double y) const { return (y + 0.5) / step_y - 0.5; }
};

// Three pixels become two, each the mean of one and a half along both axes.
void two_thirds(const GreyImage& x, int64_t h, int64_t w, uint8_t* y) {
  parallel_for(h / 2, 16, [&](int64_t begin, int64_t end) {
    Scratch<uint16_t> sums(3 * w / 2);
    for (int64_t i = 2 * begin; i < 2 * end; ++i) {
      const uint8_t *whole = x.row(3 * (i / 2) + 2 * (i % 2)), *half = x.row(3 * (i / 2) + 1);
      for (int64_t j = 0; j < 3 * w / 2; ++j) sums[j] = static_cast<uint16_t>(2 * whole[j] + half[j]);
      uint8_t* const row = y + i * w;
      for (int64_t j = 0; j < w / 2; ++j) {
        const uint16_t* const three = sums + 3 * j;
        row[2 * j] = static_cast<uint8_t>((2 * three[0] + three[1] + 4) / 9);
        row[2 * j + 1] = static_cast<uint8_t>((2 * three[2] + three[1] + 4) / 9);
      }
    }
  });
}

class Layers {
 public:
  Layers(const GreyImage& image, const BriskParams& params) {
    for (const BriskLayer& made : brisk_layers(image.h, image.w, params.octaves)) {
      const int64_t h = made.h, w = made.w;
      const size_t l = layers_.size();
      GreyImage resized = image;
      if (l > 0) {
        memory_.emplace_back(static_cast<size_t>(h * w));
        uint8_t* const pixels = memory_.back().as<uint8_t>();
        if (l == 1)
          two_thirds(image, h, w, pixels);
        else
          resize_grey(layers_[l - 2].image, h, w, pixels);
        resized = {pixels, h, w, w};
      }
      memory_.emplace_back(static_cast<size_t>(h * w));
      layers_.push_back({resized, made.scale, made.step_x, made.step_y, memory_.back().as<uint8_t>()});
    }
  }

  const std::vector<Layer>& all() const { return layers_; }

 private:
  std::vector<AlignedBuffer> memory_;
  std::vector<Layer> layers_;
};

struct Band {
  int64_t layer, begin, end;
};

std::vector<Band> bands_of(const std::vector<Layer>& layers) {
  std::vector<Band> bands;
  for (size_t l = 0; l < layers.size(); ++l)
    for (int64_t y = 0; y < layers[l].image.h; y += kBandRows)
      bands.push_back({static_cast<int64_t>(l), y, std::min(y + kBandRows, layers[l].image.h)});
  return bands;
}

void score_rows(const Layer& layer, int64_t begin, int64_t end, uint8_t threshold) {
  const GreyImage& image = layer.image;
  for (int64_t y = begin; y < end; ++y) {
    uint8_t* const row = layer.scores + y * image.w;
    if (y < kFastBorder || y >= image.h - kFastBorder) {
      std::fill_n(row, image.w, uint8_t{0});
      continue;
    }
    std::fill_n(row, kFastBorder, uint8_t{0});
    std::fill_n(row + image.w - kFastBorder, kFastBorder, uint8_t{0});
    fast_kernels().score(16, image.row(y), image.stride, image.w, threshold, row);
  }
}

// Whether no neighbour in the layer exceeds a corner, and of equal ones none that comes before it or stands
// among higher ones.
bool is_highest(const Layer& layer, int64_t x, int64_t y) {
  const int64_t w = layer.image.w;
  const uint8_t* const s = layer.scores + y * w + x;
  bool ties = false;
  for (int64_t dy = -1; dy <= 1; ++dy) {
    for (int64_t dx = -1; dx <= 1; ++dx) {
      if (s[dy * w + dx] > *s) return false;
      ties |= s[dy * w + dx] == *s && (dx != 0 || dy != 0);
    }
  }
  if (!ties) return true;
  const auto around = [w](const uint8_t* p) {
    return 4 * p[0] + 2 * (p[-1] + p[1] + p[-w] + p[w]) + p[-w - 1] + p[-w + 1] + p[w - 1] + p[w + 1];
  };
  const int mine = around(s);
  for (int64_t dy = -1; dy <= 1; ++dy) {
    for (int64_t dx = -1; dx <= 1; ++dx) {
      const uint8_t* const other = s + dy * w + dx;
      if (other == s || *other != *s) continue;
      const int theirs = around(other);
      if (theirs > mine || (theirs == mine && other < s)) return false;
    }
  }
  return true;
}

// A score as a threshold.
int above_zero(int score) { return std::max(score - 1, 0); }

// The nine thresholds around (x, y); false where circles would leave the picture.
bool thresholds_around(const Layer& layer, int circle, int64_t x, int64_t y, int (&nine)[3][3]) {
  const GreyImage& image = layer.image;
  constexpr int64_t kReach = kFastBorder + 1;
  if (x < kReach || y < kReach || x >= image.w - kReach || y >= image.h - kReach) return false;
  for (int64_t row = 0; row < 3; ++row) {
    uint8_t scores[2 * kReach + 1];
    fast_kernels().score(circle, image.row(y + row - 1) + x - kReach, image.stride, 2 * kReach + 1, 0,
                         scores);
    for (int64_t column = 0; column < 3; ++column)
      nine[row][column] = above_zero(scores[kReach + column - 1]);
  }
  return true;
}

// The peak, in pixels of the picture, of a corner or of what a neighbouring layer has there.
BriskPeak peak_at(const Layer& layer, int64_t x, int64_t y) {
  int nine[3][3];
  BriskPeak peak = {};
  if (thresholds_around(layer, 16, x, y, nine))
    peak = fitted_peak([&](int dx, int dy) { return nine[1 + dy][1 + dx]; });
  return {layer.to_picture_x(static_cast<double>(x) + peak.x),
          layer.to_picture_y(static_cast<double>(y) + peak.y),
          std::max(peak.value, static_cast<double>(layer.score(x, y) - 1))};
}

// The peak that a neighbouring layer has where `layer` has a corner, and whether it is no higher than that.
bool neighbour_peak(const Layer& layer, const Layer& other, int64_t x, int64_t y, BriskPeak* peak) {
  const double u = other.from_picture_x(layer.to_picture_x(static_cast<double>(x))),
               v = other.from_picture_y(layer.to_picture_y(static_cast<double>(y)));
  const double reach = 0.5 * layer.scale / other.scale;  // the corner's pixel
  const auto index = [](double value, int64_t extent) {
    return std::clamp<int64_t>(static_cast<int64_t>(value), 0, extent - 1);
  };
  const int64_t left = index(std::ceil(u - reach), other.image.w),
                right = index(std::floor(u + reach), other.image.w);
  const int64_t top = index(std::ceil(v - reach), other.image.h),
                bottom = index(std::floor(v + reach), other.image.h);
  int64_t best_x = index(std::nearbyint(u), other.image.w), best_y = index(std::nearbyint(v), other.image.h);
  const uint8_t limit = layer.score(x, y);
  if (other.score(best_x, best_y) > limit) return false;
  for (int64_t j = top; j <= bottom; ++j) {
    for (int64_t i = left; i <= right; ++i) {
      if (other.score(i, j) > limit) return false;
      if (other.score(i, j) > other.score(best_x, best_y)) best_x = i, best_y = j;
    }
  }
  *peak = peak_at(other, best_x, best_y);
  return true;
}

struct Candidate : Keypoint {
  int64_t row, column;

  auto order() const { return std::make_tuple(-response, octave, row, column); }
};

// A corner between the pixels and the layers, unless it is lower than what a layer above or below has there.
bool refine(const std::vector<Layer>& layers, int64_t l, int64_t x, int64_t y, Candidate* found) {
  const Layer& layer = layers[static_cast<size_t>(l)];
  const bool has_above = l + 1 < static_cast<int64_t>(layers.size());
  BriskPeak below = {}, above = {};
  if (has_above && !neighbour_peak(layer, layers[static_cast<size_t>(l + 1)], x, y, &above)) return false;
  if (l > 0 && !neighbour_peak(layer, layers[static_cast<size_t>(l - 1)], x, y, &below)) return false;
  BriskPeak peak = peak_at(layer, x, y);
  double scale = 1;
  if (has_above) {
    const double scale_above = layers[static_cast<size_t>(l + 1)].scale / layer.scale;
    double scale_below = kBriskBelow;
    if (l > 0) {
      scale_below = layers[static_cast<size_t>(l - 1)].scale / layer.scale;
    } else {
      int nine[3][3] = {};
      thresholds_around(layer, 8, x, y, nine);
      below = {peak.x, peak.y, static_cast<double>(*std::max_element(nine[0], nine[0] + 9))};
    }
    peak = peak_between(below, peak, above, scale_below, scale_above, &scale);
  }
  found->x = static_cast<float>(peak.x);
  found->y = static_cast<float>(peak.y);
  found->size = static_cast<float>(static_cast<double>(kBriskCornerSize) * scale * layer.scale);
  found->angle = -1;
  found->response = static_cast<float>(peak.value);
  found->octave = static_cast<int32_t>(l);
  found->row = y, found->column = x;
  return true;
}

BriskPlace place_of(const Keypoint& k, double degrees) {
  const double radians = degrees * (kPi / 180);
  return {k.x, k.y, k.size / kBriskSizePerT, static_cast<float>(std::cos(radians)),
          static_cast<float>(std::sin(radians))};
}

float angle_of(const float* values) {
  const BriskPattern& pattern = brisk_pattern();
  double dx = 0, dy = 0;
  for (int i = 0; i < kBriskPoints; ++i) {
    dx += static_cast<double>(values[i]) * static_cast<double>(pattern.turn_x[i]);
    dy += static_cast<double>(values[i]) * static_cast<double>(pattern.turn_y[i]);
  }
  const double degrees = std::atan2(dy, dx) * (180 / kPi);
  const auto angle = static_cast<float>(degrees < 0 ? degrees + 360 : degrees);
  return angle < 360 ? angle : 0;
}

}  // namespace

std::vector<Keypoint> brisk_detect(const GreyImage& image, const BriskParams& params, const PixelMask& mask) {
  const Layers pyramid(image, params);
  const std::vector<Layer>& layers = pyramid.all();
  const std::vector<Band> bands = bands_of(layers);
  const auto count = static_cast<int64_t>(bands.size());
  parallel_for(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Band& band = bands[static_cast<size_t>(i)];
      score_rows(layers[static_cast<size_t>(band.layer)], band.begin, band.end, params.threshold);
    }
  });
  std::vector<std::vector<Candidate>> found(bands.size());
  parallel_for(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Band& band = bands[static_cast<size_t>(i)];
      const Layer& layer = layers[static_cast<size_t>(band.layer)];
      Scratch<int32_t> columns(layer.image.w);
      for (int64_t y = std::max(band.begin, kFastBorder); y < std::min(band.end, layer.image.h - kFastBorder);
           ++y) {
        const uint8_t* const row = layer.scores + y * layer.image.w;
        const int64_t corners = fast_kernels().list(nullptr, row, nullptr, layer.image.w, columns);
        for (int64_t k = 0; k < corners; ++k) {
          Candidate c;
          if (is_highest(layer, columns[k], y) && refine(layers, band.layer, columns[k], y, &c) &&
              c.response > static_cast<float>(params.threshold) && !is_masked(mask, c.x, c.y))
            found[static_cast<size_t>(i)].push_back(c);
        }
      }
    }
  });
  std::vector<Candidate> candidates;
  for (const auto& band : found) candidates.insert(candidates.end(), band.begin(), band.end());
  InterruptPoll poll;
  std::sort(candidates.begin(), candidates.end(), [&](const Candidate& a, const Candidate& b) {
    poll();
    return a.order() < b.order();
  });
  return {candidates.begin(), candidates.end()};
}

bool brisk_fits(const IntegralImage& image, const Keypoint& k) {
  const float reach =
      std::max(brisk_pattern().reach * (k.size / kBriskSizePerT), 1.0f) + 2;  // and what rounding adds
  return k.size > 0 && k.x >= reach && k.y >= reach && k.x < static_cast<float>(image.w) - reach &&
         k.y < static_cast<float>(image.h) - reach;
}

void brisk_describe(const IntegralImage& image, Keypoint* keypoints, int64_t n, uint8_t* descriptors) {
  const BriskPattern& pattern = brisk_pattern();
  const BriskKernels& kernels = brisk_kernels();
  const std::vector<int64_t> order = in_reading_order(keypoints, n, image.h, image.w);
  parallel_for(n, 16, [&](int64_t begin, int64_t end) {
    alignas(64) float values[kBriskPadded];
    for (int64_t k_th = begin; k_th < end; ++k_th) {
      const int64_t i = order[static_cast<size_t>(k_th)];
      Keypoint& k = keypoints[i];
      if (k.angle < 0) {
        kernels.smooth(image, pattern, place_of(k, 0), values);
        k.angle = angle_of(values);
      }
      if (descriptors == nullptr) continue;
      kernels.smooth(image, pattern, place_of(k, static_cast<double>(k.angle)), values);
      for (int byte = 0; byte < kBriskPairs / 8; ++byte) {
        uint32_t bits = 0;
        for (int b = 0; b < 8; ++b) {
          const int pair = 8 * byte + b;
          bits |= static_cast<uint32_t>(values[pattern.first[pair]] > values[pattern.second[pair]]) << b;
        }
        descriptors[i * (kBriskPairs / 8) + byte] = static_cast<uint8_t>(bits);
      }
    }
  });
}

}  // namespace pyvision

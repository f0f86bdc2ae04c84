// SPDX-License-Identifier: Apache-2.0
#include "ops/brisk/params.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "ops/fast/ring.h"

namespace pyvision {

BriskParams brisk_params(int64_t max_features, int64_t threshold, int64_t octaves) {
  constexpr const char* kOp = "BRISK";
  check(max_features >= 0 && max_features <= (int64_t{1} << 30), kOp,
        "expected max_features in [0, 2^30], got ", max_features);
  check(threshold >= 0 && threshold <= 255, kOp, "expected threshold in [0, 255], got ", threshold);
  check(octaves >= 0 && octaves <= kMaxBriskOctaves, kOp, "expected octaves in [0, ", kMaxBriskOctaves,
        "], got ", octaves);
  return {static_cast<uint8_t>(threshold), octaves};
}

std::vector<BriskLayer> brisk_layers(int64_t picture_h, int64_t picture_w, int64_t octaves) {
  std::vector<BriskLayer> layers;
  const int64_t count = std::max<int64_t>(1, 2 * octaves);
  for (int64_t l = 0; l < count; ++l) {
    const double scale = (l % 2 == 0 ? 1.0 : 1.5) * std::exp2(static_cast<double>(l / 2));
    const BriskLayer before =
        l == 0 ? BriskLayer{picture_h, picture_w, 1, 1, 1} : layers[static_cast<size_t>(l == 1 ? 0 : l - 2)];
    const auto extent = [&](int64_t n) { return l == 0 ? n : l == 1 ? 2 * (n / 3) : n / 2; };
    const int64_t h = extent(before.h), w = extent(before.w);
    if (std::min(h, w) <= 2 * kFastBorder) break;
    const auto ratio = [&](int64_t n, int64_t of) {
      return l == 1 ? 1.5 : static_cast<double>(of) / static_cast<double>(n);
    };
    layers.push_back({h, w, scale, before.step_x * ratio(w, before.w), before.step_y * ratio(h, before.h)});
  }
  return layers;
}

const BriskPattern& brisk_pattern() {
  static const BriskPattern pattern = [] {
    constexpr double kPi = 3.14159265358979323846;
    constexpr double kRadius[] = {0, 2.9, 4.9, 7.4, 10.8}, kUnit = 0.85, kBlur = 1.3, kFar = 8.2,
                     kNear = 5.85;
    constexpr int kCount[] = {1, 10, 14, 15, 20};
    BriskPattern p = {};
    double x[kBriskPoints], y[kBriskPoints], turn_x[kBriskPoints] = {}, turn_y[kBriskPoints] = {};
    int n = 0;
    for (int ring = 0; ring < 5; ++ring) {
      for (int i = 0; i < kCount[ring]; ++i, ++n) {
        const double angle = 2 * kPi * i / kCount[ring], radius = kUnit * kRadius[ring];
        const double half = kBlur * (ring == 0 ? 0.5 : radius * std::sin(kPi / kCount[ring]));
        x[n] = radius * std::cos(angle), y[n] = radius * std::sin(angle);
        p.x[n] = static_cast<float>(x[n]);
        p.y[n] = static_cast<float>(y[n]);
        p.half[n] = static_cast<float>(half);
        p.reach = std::max(p.reach, static_cast<float>(radius + half));
      }
    }
    for (; n < kBriskPadded; ++n) p.half[n] = p.half[0];
    int pairs = 0;
    for (int i = 1; i < kBriskPoints; ++i) {
      for (int j = 0; j < i; ++j) {
        const double dx = x[i] - x[j], dy = y[i] - y[j], squared = dx * dx + dy * dy;
        if (squared > kFar * kFar) {
          turn_x[i] += dx / squared, turn_y[i] += dy / squared;
          turn_x[j] -= dx / squared, turn_y[j] -= dy / squared;
        } else if (squared < kNear * kNear && pairs < kBriskPairs) {
          p.first[pairs] = static_cast<uint8_t>(i);
          p.second[pairs++] = static_cast<uint8_t>(j);
        }
      }
    }
    for (int i = 0; i < kBriskPoints; ++i) {
      p.turn_x[i] = static_cast<float>(turn_x[i]);
      p.turn_y[i] = static_cast<float>(turn_y[i]);
    }
    return p;
  }();
  return pattern;
}

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
#include "ops/sift/params.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace pyvision {

double SiftParams::blur(int64_t i) const {
  if (i == 0) return std::sqrt(std::max(sigma * sigma - 1, 0.01));
  const double ratio = std::exp2(1 / static_cast<double>(layers));
  return sigma * std::pow(ratio, static_cast<double>(i - 1)) * std::sqrt(ratio * ratio - 1);
}

float SiftParams::least_difference() const {
  return static_cast<float>(std::floor(0.5 * contrast / static_cast<double>(layers) * 255));
}

SiftParams sift_params(int64_t max_features, int64_t layers, double contrast, double edge, double sigma) {
  constexpr const char* kOp = "SIFT";
  SiftParams params;
  check(max_features >= 0 && max_features <= (int64_t{1} << 30), kOp,
        "expected max_features in [0, 2^30], got ", max_features);
  check(layers >= 1 && layers <= 8, kOp, "expected layers in [1, 8], got ", layers);
  check(contrast >= 0 && contrast <= 1, kOp, "expected contrast_threshold in [0, 1], got ", contrast);
  check(edge >= 1 && edge <= 1e6, kOp, "expected edge_threshold in [1, 1e6], got ", edge);
  check(sigma >= 0.5 && sigma <= 4, kOp, "expected sigma in [0.5, 4], got ", sigma);
  params.max_features = max_features;
  params.layers = layers;
  params.contrast = contrast;
  params.edge = edge;
  params.sigma = sigma;
  return params;
}

int64_t sift_octaves(int64_t h, int64_t w) {
  const double side = static_cast<double>(2 * std::min(h, w));
  return std::max<int64_t>(1, static_cast<int64_t>(std::nearbyint(std::log2(side) - 2)));
}

SiftTaps::SiftTaps(double sigma) {
  const int64_t size = static_cast<int64_t>(std::nearbyint(sigma * 8 + 1)) | 1;
  radius = std::min<int64_t>(size / 2, kMaxBlurRadius);
  double weights[kMaxBlurRadius + 1], sum = 0;
  for (int64_t i = 0; i <= radius; ++i) {
    weights[i] = std::exp(-0.5 * static_cast<double>(i * i) / (sigma * sigma));
    sum += i == 0 ? weights[i] : 2 * weights[i];
  }
  for (int64_t i = 0; i <= radius; ++i) values[i] = static_cast<float>(weights[i] / sum);
}

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
#include "ops/orb/orb.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/parallel.h"
#include "ops/brief/brief.h"
#include "ops/fast/fast.h"
#include "ops/grey_filters/grey_filters.h"
#include "ops/orb/pattern.h"

namespace pyvision {
namespace {

struct Candidate {
  int32_t x, y;
  float response;
};

// A band of rows of one level.
struct Band {
  int64_t level, begin, end;
};

// All bands of all levels, so that they are shared out together: small levels are no work for two threads.
std::vector<Band> bands_of(const OrbPyramid& pyramid, int64_t rows) {
  std::vector<Band> bands;
  for (int64_t l = 0; l < pyramid.levels(); ++l)
    for (int64_t y = 0; y < pyramid.level(l).h; y += rows)
      bands.push_back({l, y, std::min(y + rows, pyramid.level(l).h)});
  return bands;
}

// The corners of a level, row by row, that are within reach.
std::vector<std::vector<FastCorner>> find_corners(const OrbPyramid& pyramid, const OrbParams& params,
                                                  const PixelMask& mask) {
  const FastParams fast_params = {16, params.threshold, true};
  const std::vector<Band> bands = bands_of(pyramid, kFastRows);
  std::vector<std::vector<FastCorner>> found(bands.size());
  parallel_for(static_cast<int64_t>(bands.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Band& band = bands[static_cast<size_t>(i)];
      const GreyImage& image = pyramid.level(band.level);
      const float scale = pyramid.scale(band.level);
      std::vector<FastCorner>& corners = found[static_cast<size_t>(i)];
      fast_rows(image, fast_params, std::max(band.begin, params.edge),
                std::min(band.end, image.h - params.edge), &corners);
      const auto is_out = [&](const FastCorner& c) {
        return c.x < params.edge || c.x >= image.w - params.edge ||
               is_masked(mask, static_cast<float>(c.x) * scale, static_cast<float>(c.y) * scale);
      };
      corners.erase(std::remove_if(corners.begin(), corners.end(), is_out), corners.end());
    }
  });
  std::vector<std::vector<FastCorner>> levels(static_cast<size_t>(pyramid.levels()));
  for (size_t i = 0; i < bands.size(); ++i) {
    auto& level = levels[static_cast<size_t>(bands[i].level)];
    level.insert(level.end(), found[i].begin(), found[i].end());
  }
  return levels;
}

// The `count` corners of the highest scores, and those that tie with the last of them.
void keep_highest(std::vector<FastCorner>* corners, int64_t count) {
  if (static_cast<int64_t>(corners->size()) <= count) return;
  std::array<int64_t, 256> histogram = {};
  for (const FastCorner& c : *corners) ++histogram[c.score];
  int least = 255;
  for (int64_t kept = histogram[255]; kept < count; kept += histogram[static_cast<size_t>(least)]) --least;
  corners->erase(
      std::remove_if(corners->begin(), corners->end(), [=](const FastCorner& c) { return c.score < least; }),
      corners->end());
}

// By falling response, then as they stand.
void sort_strongest(std::vector<Candidate>* candidates, int64_t count) {
  InterruptPoll poll;
  const auto stronger = [&](const Candidate& a, const Candidate& b) {
    poll();
    if (a.response != b.response) return a.response > b.response;
    return a.y != b.y ? a.y < b.y : a.x < b.x;
  };
  const auto kept = candidates->begin() + std::min(count, static_cast<int64_t>(candidates->size()));
  std::nth_element(candidates->begin(), kept, candidates->end(), stronger);
  candidates->erase(kept, candidates->end());
  std::sort(candidates->begin(), candidates->end(), stronger);
}

float angle_of(const GreyImage& image, const Candidate& c) {
  int32_t m10, m01;
  orb_kernels().moments(image.row(c.y) + c.x, image.stride, &m10, &m01);
  const double degrees =
      std::atan2(static_cast<double>(m01), static_cast<double>(m10)) * (180 / 3.14159265358979323846);
  const auto angle = static_cast<float>(degrees < 0 ? degrees + 360 : degrees);
  return angle < 360 ? angle : 0;
}

const BriefTests& orb_tests() {
  static const auto pattern = [] {
    std::array<float, 4 * kOrbTests> planes = {};
    for (int i = 0; i < 4 * kOrbTests; ++i) planes[i] = kOrbPattern[i % kOrbTests][i / kOrbTests];
    return planes;
  }();
  static const BriefTests tests = {pattern.data(), kOrbTests};
  return tests;
}

BriefPoint point_in_level(const OrbPyramid& pyramid, const Keypoint& k) {
  const float scale = 1.0f / pyramid.scale(k.octave);
  return {static_cast<int32_t>(std::nearbyint(k.x * scale)),
          static_cast<int32_t>(std::nearbyint(k.y * scale)), k.angle};
}

}  // namespace

OrbPyramid::OrbPyramid(const GreyImage& image, const OrbParams& params) : params_(params), levels_{image} {
  for (int64_t l = 1; l < params.levels; ++l) {
    const int64_t h = params.extent(image.h, l), w = params.extent(image.w, l);
    if (h < 1 || w < 1) return;
    memory_.emplace_back(static_cast<size_t>(h * w));
    resize_grey(levels_.back(), h, w, memory_.back().as<uint8_t>());
    levels_.push_back({memory_.back().as<uint8_t>(), h, w, w});
  }
}

std::vector<Keypoint> orb_detect(const OrbPyramid& pyramid, const OrbParams& params, const PixelMask& mask) {
  const std::vector<int64_t> counts = params.shares();
  std::vector<std::vector<FastCorner>> corners = find_corners(pyramid, params, mask);
  std::vector<std::vector<Keypoint>> found(corners.size());
  parallel_for(pyramid.levels(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l) {
      const GreyImage& image = pyramid.level(l);
      const int64_t count = counts[static_cast<size_t>(l)];
      std::vector<FastCorner>& of_level = corners[static_cast<size_t>(l)];
      keep_highest(&of_level, 2 * count);
      std::vector<Candidate> candidates;
      candidates.reserve(of_level.size());
      InterruptPoll poll;
      for (const FastCorner& c : of_level) {
        poll();
        candidates.push_back({c.x, c.y, orb_kernels().harris(image.row(c.y) + c.x, image.stride)});
      }
      sort_strongest(&candidates, count);
      const float scale = pyramid.scale(l);
      for (const Candidate& c : candidates) {
        poll();
        found[static_cast<size_t>(l)].push_back({static_cast<float>(c.x) * scale,
                                                 static_cast<float>(c.y) * scale, kOrbPatch * scale,
                                                 angle_of(image, c), c.response, static_cast<int32_t>(l)});
      }
    }
  });
  std::vector<Keypoint> keypoints;
  for (const auto& level : found) keypoints.insert(keypoints.end(), level.begin(), level.end());
  return keypoints;
}

bool orb_fits(const OrbPyramid& pyramid, const Keypoint& keypoint) {
  const GreyImage& image = pyramid.level(keypoint.octave);
  const float scale = pyramid.scale(keypoint.octave);
  const auto inside = [&](float x, int64_t extent) {  // before any conversion: x may be beyond all integers
    return x >= 0 && x <= static_cast<float>(extent) * scale;
  };
  if (!inside(keypoint.x, image.w) || !inside(keypoint.y, image.h)) return false;
  const BriefPoint point = point_in_level(pyramid, keypoint);
  return brief_fits(image, point.x, point.y);
}

void orb_describe(const OrbPyramid& pyramid, const Keypoint* keypoints, int64_t n, uint8_t* descriptors) {
  constexpr int64_t kRows = 64, kPoints = 64;
  std::vector<AlignedBuffer> memory;
  std::vector<GreyImage> blurred;
  for (int64_t l = 0; l < pyramid.levels(); ++l) {
    const GreyImage& image = pyramid.level(l);
    memory.emplace_back(static_cast<size_t>(image.h * image.w));
    blurred.push_back({memory.back().as<uint8_t>(), image.h, image.w, image.w});
  }
  const std::vector<Band> bands = bands_of(pyramid, kRows);
  parallel_for(static_cast<int64_t>(bands.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Band& band = bands[static_cast<size_t>(i)];
      const GreyImage& image = pyramid.level(band.level);
      uint8_t* const y = memory[static_cast<size_t>(band.level)].as<uint8_t>();
      blur_grey_rows(image, band.begin, band.end, y + band.begin * image.w, image.w);
    }
  });
  parallel_for(n, kPoints, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      brief(blurred[static_cast<size_t>(keypoints[i].octave)], point_in_level(pyramid, keypoints[i]),
            orb_tests(), descriptors + i * (kOrbTests / 8));
  });
}

}  // namespace pyvision

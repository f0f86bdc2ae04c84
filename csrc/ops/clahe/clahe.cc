// SPDX-License-Identifier: Apache-2.0
#include "ops/clahe/clahe.h"

#include <algorithm>
#include <cmath>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

constexpr int kLevels = 256;

uint8_t rounded(float x) { return static_cast<uint8_t>(std::clamp(std::nearbyint(x), 0.0f, 255.0f)); }

void clip_histogram(int64_t limit, int64_t (&counts)[kLevels]) {
  int64_t excess = 0;
  for (int64_t& count : counts) {
    excess += std::max<int64_t>(count - limit, 0);
    count = std::min(count, limit);
  }
  for (int64_t& count : counts) count += excess / kLevels;
  const int64_t rest = excess % kLevels;
  const int64_t step = std::max<int64_t>(kLevels / std::max<int64_t>(rest, 1), 1);
  for (int64_t i = 0; i < rest && i * step < kLevels; ++i) ++counts[i * step];
}

// Which two tiles along an axis a pixel is looked up in, and the second one's weight.
struct TilePair {
  int64_t first, second;
  float weight;

  TilePair(int64_t i, float inverse_extent, int64_t tiles) {
    const float position = static_cast<float>(i) * inverse_extent - 0.5f, below = std::floor(position);
    weight = position - below;
    first = std::max<int64_t>(static_cast<int64_t>(below), 0);
    second = std::min(static_cast<int64_t>(below) + 1, tiles - 1);
  }
};

}  // namespace

void clahe(const GreyImage& x, const ClaheParams& params, uint8_t* y) {
  const int64_t rows = params.tiles_h, columns = params.tiles_w;
  const bool even = x.h % rows == 0 && x.w % columns == 0;
  const int64_t tile_h = x.h / rows + !even, tile_w = x.w / columns + !even, area = tile_h * tile_w;
  const auto most = static_cast<float>(area);  // no count is greater
  const auto limit = static_cast<int64_t>(std::min(params.clip * most / kLevels, most));
  const AlignedBuffer memory(static_cast<size_t>(rows * columns * kLevels));
  auto* const tables = memory.as<uint8_t>();
  parallel_for(rows * columns, 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t top = tile / columns * tile_h, left = tile % columns * tile_w;
      int64_t counts[kLevels] = {};
      for (int64_t i = top; i < top + tile_h; ++i) {
        const uint8_t* const row = x.row(mirrored(i, x.h));
        for (int64_t j = left; j < left + tile_w; ++j) ++counts[row[j < x.w ? j : mirrored(j, x.w)]];
      }
      if (params.clip > 0) clip_histogram(std::max<int64_t>(limit, 1), counts);
      const float scale = 255.0f / static_cast<float>(area);
      int64_t sum = 0;
      for (int level = 0; level < kLevels; ++level) {
        sum += counts[level];
        tables[tile * kLevels + level] = rounded(static_cast<float>(sum) * scale);
      }
    }
  });

  const float inverse_h = 1.0f / static_cast<float>(tile_h), inverse_w = 1.0f / static_cast<float>(tile_w);
  parallel_for(x.h, std::max<int64_t>(1, (1 << 13) / x.w), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const TilePair vertical(i, inverse_h, rows);
      const uint8_t *upper = tables + vertical.first * columns * kLevels,
                    *lower = tables + vertical.second * columns * kLevels, *row = x.row(i);
      for (int64_t j = 0; j < x.w; ++j) {
        const TilePair across(j, inverse_w, columns);
        const int64_t left = across.first * kLevels + row[j], right = across.second * kLevels + row[j];
        const float a = 1 - across.weight, b = across.weight;
        const float above = static_cast<float>(upper[left]) * a + static_cast<float>(upper[right]) * b;
        const float below = static_cast<float>(lower[left]) * a + static_cast<float>(lower[right]) * b;
        y[i * x.w + j] = rounded(above * (1 - vertical.weight) + below * vertical.weight);
      }
    }
  });
}

}  // namespace pyvision

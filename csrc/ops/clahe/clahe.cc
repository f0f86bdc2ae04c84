// SPDX-License-Identifier: Apache-2.0
#include "ops/clahe/clahe.h"

#include <algorithm>
#include <cmath>
#include <vector>

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

// Along an axis: where between the centres of two tiles each pixel lies, and where the next two begin.
struct TileAxis {
  std::vector<float> weights;  // (extent,) of the later tile
  // (tiles + 2,): pixels [begins[k], begins[k + 1]) lie between tiles k - 1 and k
  std::vector<int64_t> begins;

  TileAxis(int64_t extent, int64_t tile, int64_t tiles)
      : weights(static_cast<size_t>(extent)), begins(static_cast<size_t>(tiles) + 2, extent) {
    const float inverse = 1.0f / static_cast<float>(tile);
    for (int64_t i = extent - 1; i >= 0; --i) {
      const float position = static_cast<float>(i) * inverse - 0.5f, before = std::floor(position);
      weights[static_cast<size_t>(i)] = position - before;
      begins[static_cast<size_t>(static_cast<int64_t>(before) + 1)] = i;
    }
    for (size_t k = begins.size() - 1; k-- > 0;) begins[k] = std::min(begins[k], begins[k + 1]);
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

  const TileAxis down(x.h, tile_h, rows), across(x.w, tile_w, columns);
  parallel_for((rows + 1) * (columns + 1), 1, [&](int64_t begin, int64_t end) {
    for (int64_t cell = begin; cell < end; ++cell) {
      const int64_t below = cell / (columns + 1), right = cell % (columns + 1);  // [0, rows], [0, columns]
      const int64_t top = down.begins[below], bottom = down.begins[below + 1], left = across.begins[right],
                    n = across.begins[right + 1] - left;
      if (top == bottom || n == 0) continue;
      const auto table = [&](int64_t i, int64_t j) {
        return tables +
               (std::clamp<int64_t>(i, 0, rows - 1) * columns + std::clamp<int64_t>(j, 0, columns - 1)) *
                   kLevels;
      };
      const uint8_t* const corners[] = {table(below - 1, right - 1), table(below - 1, right),
                                        table(below, right - 1), table(below, right)};
      int32_t quads[kLevels];
      for (int level = 0; level < kLevels; ++level) {
        uint32_t quad = 0;
        for (int k = 0; k < 4; ++k) quad |= static_cast<uint32_t>(corners[k][level]) << 8 * k;
        quads[level] = static_cast<int32_t>(quad);
      }
      for (int64_t i = top; i < bottom; ++i)
        clahe_kernels().look_up(x.row(i) + left, quads, across.weights.data() + left, down.weights[i], n,
                                y + i * x.w + left);
    }
  });
}

}  // namespace pyvision

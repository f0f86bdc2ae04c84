// SPDX-License-Identifier: Apache-2.0
#include "ops/fast/fast.h"

#include <algorithm>
#include <cstring>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {

void fast_rows(const GreyImage& image, const FastParams& params, int64_t begin, int64_t end,
               std::vector<FastCorner>* corners) {
  const int64_t first = kFastBorder, last = image.h - kFastBorder;
  begin = std::max(begin, first);
  end = std::min(end, last);
  if (begin >= end || image.w <= 2 * kFastBorder) return;
  const FastKernels& kernels = fast_kernels();
  Scratch<uint8_t> memory(3 * image.w);  // the scores of three rows in turn; zeros at both ends stay
  Scratch<int32_t> columns(image.w);
  std::memset(memory, 0, static_cast<size_t>(3 * image.w));
  const auto scores_of = [&](int64_t y) { return memory.get() + y % 3 * image.w; };
  bool any[3] = {};
  const auto score = [&](int64_t y) {
    bool& found = any[y % 3];
    found = y >= first && y < last &&
            kernels.score(params.circle, image.row(y), image.stride, image.w, params.threshold, scores_of(y));
    if (y < first || y >= last) std::memset(scores_of(y), 0, static_cast<size_t>(image.w));
  };
  if (params.suppress) score(begin - 1), score(begin);
  for (int64_t y = begin; y < end; ++y) {
    score(params.suppress ? y + 1 : y);
    if (!any[y % 3]) continue;
    const uint8_t* const row = scores_of(y);
    const int64_t count =
        kernels.list(params.suppress ? scores_of(y - 1) : nullptr, row, scores_of(y + 1), image.w, columns);
    for (int64_t i = 0; i < count; ++i) {
      const int32_t x = columns[i];
      corners->push_back({x, static_cast<int32_t>(y), static_cast<uint8_t>(row[x] - 1)});
    }
  }
}

std::vector<FastCorner> fast(const GreyImage& image, const FastParams& params) {
  const int64_t bands = (image.h + kFastRows - 1) / kFastRows;
  std::vector<std::vector<FastCorner>> found(static_cast<size_t>(bands));
  parallel_for(bands, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      fast_rows(image, params, b * kFastRows, (b + 1) * kFastRows, &found[static_cast<size_t>(b)]);
  });
  size_t count = 0;
  for (const auto& band : found) count += band.size();
  std::vector<FastCorner> corners;
  corners.reserve(count);
  for (const auto& band : found) corners.insert(corners.end(), band.begin(), band.end());
  return corners;
}

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
#include "ops/paste_masks/paste_masks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "core/arena.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

// A box grown about its centre.
struct Corners {
  float x1, y1, x2, y2;
};

Corners enlarge(const float* box, float scale) {
  const float half_w = (box[2] - box[0]) * 0.5f * scale, half_h = (box[3] - box[1]) * 0.5f * scale;
  const float x = (box[2] + box[0]) * 0.5f, y = (box[3] + box[1]) * 0.5f;
  return {x - half_w, y - half_h, x + half_w, y + half_h};
}

float scale_of(int64_t m, int64_t padding) {
  return static_cast<float>(static_cast<double>(m + 2 * padding) / static_cast<double>(m));
}

// The part [begin, end) of the image's axis that one axis of a box covers, and where it reads.
struct Axis {
  int64_t start, length;  // of the box
  int64_t begin, end;

  Axis(float from, float to, int64_t extent)
      : start(static_cast<int64_t>(from)),
        length(std::max<int64_t>(1, static_cast<int64_t>(to) - start + 1)),
        begin(std::max<int64_t>(0, start)),
        end(std::max(begin, std::min<int64_t>(extent, static_cast<int64_t>(to) + 1))) {}

  // taps: (end - begin,), into `size` values
  void fill(PasteTap* taps, int64_t size) const {
    const float step = static_cast<float>(size) / static_cast<float>(length);
    for (int64_t i = begin; i < end; ++i) {
      const float position = std::max(0.0f, step * (static_cast<float>(i - start) + 0.5f) - 0.5f);
      const int64_t index = std::min(size - 1, static_cast<int64_t>(position));
      taps[i - begin] = {static_cast<int32_t>(index), std::min(1.0f, position - static_cast<float>(index))};
    }
  }
};

template <class T>
void paste_mask(const float* mask, const Corners& box, T* image, int64_t m, int64_t padding, int64_t h,
                int64_t w, float threshold) {
  const Axis across(box.x1, box.x2, w), down(box.y1, box.y2, h);
  const int64_t width = across.end - across.begin, height = down.end - down.begin;
  if (width <= 0 || height <= 0) return;
  const PasteMasksKernels& kernels = paste_masks_kernels();
  const int64_t size = m + 2 * padding;
  Scratch<PasteTap> columns(width), rows(height);
  across.fill(columns, size);
  down.fill(rows, size);

  // Only the mask's rows that the image sees are widened; the last repeats, as its values do at the border.
  const int64_t first = rows[0].index, last = std::min<int64_t>(size - 1, rows[height - 1].index + 1);
  Scratch<float> bordered(size + 1), wide_memory((last - first + 2) * width);
  float* const wide = wide_memory;
  std::fill_n(bordered.get(), size + 1, 0.0f);
  for (int64_t r = first; r <= last; ++r) {
    float* const y = wide + (r - first) * width;
    if (r < padding || r >= padding + m) {
      std::fill_n(y, width, 0.0f);
    } else {
      std::memcpy(bordered + padding, mask + (r - padding) * m, static_cast<size_t>(m) * sizeof(float));
      bordered[size] = bordered[size - 1];
      kernels.widen(bordered, columns, y, width);
    }
  }
  std::copy_n(wide + (last - first) * width, width, wide + (last - first + 1) * width);

  for (int64_t y = 0; y < height; ++y) {
    const float* const top = wide + (rows[y].index - first) * width;
    T* const out = image + (down.begin + y) * w + across.begin;
    if constexpr (std::is_same_v<T, float>)
      kernels.blend(top, top + width, rows[y].weight, out, width);
    else
      kernels.blend_above(top, top + width, rows[y].weight, threshold, out, width);
  }
}

}  // namespace

bool paste_sizes_fit(int64_t m, int64_t padding) {
  constexpr int64_t kMost = 1 << 20;
  return m >= 1 && m <= kMost && padding >= 0 && padding <= kMost;
}

bool paste_boxes_fit(const float* boxes, int64_t n, int64_t m, int64_t padding) {
  const float scale = scale_of(m, padding);
  for (int64_t i = 0; i < n; ++i) {
    const Corners box = enlarge(boxes + 4 * i, scale);
    for (const float corner : {box.x1, box.y1, box.x2, box.y2})
      if (!(std::fabs(corner) <= kPasteLargest)) return false;
  }
  return true;
}

template <class T>
void paste_masks(const float* masks, const float* boxes, T* y, int64_t n, int64_t m, int64_t padding,
                 int64_t h, int64_t w, float threshold) {
  const float scale = scale_of(m, padding);
  parallel_for(n, 1, [&](int64_t begin, int64_t end) {  // a mask: some 20 us
    for (int64_t i = begin; i < end; ++i)
      paste_mask(masks + i * m * m, enlarge(boxes + 4 * i, scale), y + i * h * w, m, padding, h, w,
                 threshold);
  });
}

template void paste_masks<float>(const float*, const float*, float*, int64_t, int64_t, int64_t, int64_t,
                                 int64_t, float);
template void paste_masks<uint8_t>(const float*, const float*, uint8_t*, int64_t, int64_t, int64_t, int64_t,
                                   int64_t, float);

}  // namespace pyvision

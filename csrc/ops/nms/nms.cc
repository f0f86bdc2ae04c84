// SPDX-License-Identifier: Apache-2.0
#include "ops/nms/nms.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/arena.h"
#include "core/parallel.h"
#include "ops/boxes/geometry.h"

namespace pyvision {
namespace {

template <class Key>
struct Entry {
  Key key;
  uint32_t index;
};

// Rises as the score falls. Adding zero turns -0 into +0, which ties with it.
uint32_t falling_key(float score) {
  score += 0.0f;
  uint32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  return bits >> 31 ? bits : ~(bits | 0x80000000u);
}
uint64_t falling_key(double score) {
  score += 0.0;
  uint64_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  return bits >> 63 ? bits : ~(bits | uint64_t{1} << 63);
}

// Stable, ascending, by bytes from the lowest; bytes that are the same in all keys are skipped. Swaps the two
// buffers as it goes: the sorted entries are in `entries` in the end.
template <class Item, class KeyOf>
void radix_sort(Item*& entries, Item*& spare, int64_t n, KeyOf key_of) {
  using Key = decltype(key_of(*entries));
  Key varying = 0;
  for (int64_t i = 1; i < n; ++i) varying |= key_of(entries[i]) ^ key_of(entries[0]);
  for (int shift = 0; shift < static_cast<int>(8 * sizeof(Key)); shift += 8) {
    if ((varying >> shift & 255) == 0) continue;
    int64_t position[256] = {};
    for (int64_t i = 0; i < n; ++i) ++position[key_of(entries[i]) >> shift & 255];
    int64_t sum = 0;
    for (int64_t& p : position) sum += std::exchange(p, sum);
    for (int64_t i = 0; i < n; ++i) spare[position[key_of(entries[i]) >> shift & 255]++] = entries[i];
    std::swap(entries, spare);
  }
}

// The definition itself, for doubles. boxes: (n, 4) by falling score; kept: (n,)
void greedy_f64(const double* boxes, int64_t n, double threshold, uint8_t* kept) {
  Scratch<int64_t> winners(n);
  int64_t count = 0;
  for (int64_t j = 0; j < n; ++j) {
    const double* b = boxes + 4 * j;
    const double area = area_of(b);
    kept[j] = 1;
    if (area == 0) continue;
    for (int64_t k = 0; k < count && kept[j]; ++k) {
      const double* a = boxes + 4 * winners[k];
      const double iw = std::max(0.0, std::min(a[2], b[2]) - std::max(a[0], b[0]));
      const double ih = std::max(0.0, std::min(a[3], b[3]) - std::max(a[1], b[1]));
      const double intersection = iw * ih;
      const double united = (area_of(a) + area) - intersection;
      kept[j] = !(intersection / united > threshold);
    }
    if (kept[j]) winners[count++] = j;
  }
}

struct GridPlan {
  NmsGrid grid;
  int64_t blocks;  // enough for every box in every cell it touches
};

// Cells about as large as the mean box: then a box touches about four of them.
// Returns false when the boxes need double precision.
bool plan_grid(const float* boxes, int64_t n, GridPlan* plan) {
  float left = INFINITY, top = INFINITY, right = -INFINITY, bottom = -INFINITY;
  double sum_w = 0, sum_h = 0, sum_area = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float *b = boxes + 4 * i, w = b[2] - b[0], h = b[3] - b[1];
    if (!area_fits_f32(b)) return false;
    if (!(w > 0 && h > 0)) continue;
    left = std::min(left, b[0]);
    top = std::min(top, b[1]);
    right = std::max(right, b[2]);
    bottom = std::max(bottom, b[3]);
    sum_w += w;
    sum_h += h;
    sum_area += static_cast<double>(w) * h;
    ++count;
  }
  if (count == 0) {
    *plan = {{0, 0, 0, 0, 1, 1}, 0};
    return true;
  }
  const double width = static_cast<double>(right) - left, height = static_cast<double>(bottom) - top;
  double cells_x = width / (sum_w / count), cells_y = height / (sum_h / count);
  const double most = std::max(1.0, count / 4.0);  // clearing a cell should cost less than its boxes do
  if (cells_x * cells_y > most) {
    const double shrink = std::sqrt(most / (cells_x * cells_y));
    cells_x = std::min(cells_x * shrink, most);
    cells_y = std::min(cells_y * shrink, most);
  }
  constexpr double kMostPerAxis = 4096;  // a float then places a coordinate within 1e-3 cells
  cells_x = std::min(cells_x, kMostPerAxis);
  cells_y = std::min(cells_y, kMostPerAxis);
  NmsGrid& grid = plan->grid;
  grid.cells_x = std::max(1, static_cast<int32_t>(cells_x));
  grid.cells_y = std::max(1, static_cast<int32_t>(cells_y));
  grid.origin_x = left;
  grid.origin_y = top;
  grid.cells_per_unit_x = static_cast<float>(grid.cells_x / width);
  grid.cells_per_unit_y = static_cast<float>(grid.cells_y / height);
  // A width of k cells touches at most k + 2 of them; a block per cell may be part empty.
  const double per_x = grid.cells_x / width, per_y = grid.cells_y / height;
  const double touches = sum_area * per_x * per_y + 2 * sum_w * per_x + 2 * sum_h * per_y + 4.0 * count;
  const int64_t cells = int64_t{grid.cells_x} * grid.cells_y;
  plan->blocks = static_cast<int64_t>(1.01 * touches) / NmsBlock::kBoxes + cells + 1;
  return true;
}

template <class T>
void greedy(const T* boxes, int64_t n, double threshold, uint8_t* kept) {
  GridPlan plan;
  if constexpr (std::is_same_v<T, float>) {
    if (plan_grid(boxes, n, &plan)) {
      // A float exceeds the threshold exactly when it exceeds the largest float that does not.
      float limit = static_cast<float>(threshold);
      if (limit > threshold) limit = std::nextafter(limit, -INFINITY);
      Scratch<int32_t> heads(int64_t{plan.grid.cells_x} * plan.grid.cells_y);
      Scratch<NmsBlock> blocks(plan.blocks);
      nms_kernels().greedy(boxes, n, limit, plan.grid, heads, blocks, kept);
      return;
    }
    Scratch<double> wide(4 * n);
    std::copy(boxes, boxes + 4 * n, wide.get());
    greedy_f64(wide, n, threshold, kept);
  } else {
    greedy_f64(boxes, n, threshold, kept);
  }
}

}  // namespace

template <class T>
int64_t nms(const T* boxes, const T* scores, const int64_t* classes, int64_t n, double threshold,
            int64_t* keep) {
  using Key = decltype(falling_key(T{}));
  using ScoreEntry = Entry<Key>;
  using RankEntry = Entry<uint32_t>;  // key: place in the order of scores
  Scratch<ScoreEntry> score_entries(n), score_spare(n);
  ScoreEntry *order = score_entries, *spare = score_spare;
  int64_t m = 0;
  for (int64_t i = 0; i < n; ++i)
    if (finite_box(boxes + 4 * i) && !std::isnan(scores[i]))
      order[m++] = {falling_key(scores[i]), static_cast<uint32_t>(i)};
  if (m == 0) return 0;
  radix_sort(order, spare, m, [](const ScoreEntry& e) { return e.key; });

  // Classes one after the other, each by falling score.
  Scratch<RankEntry> rank_entries(m), rank_spare(classes == nullptr ? 0 : m);
  RankEntry *grouped = rank_entries, *other = rank_spare;
  for (int64_t r = 0; r < m; ++r) grouped[r] = {static_cast<uint32_t>(r), order[r].index};
  std::vector<int64_t> starts = {0};
  if (classes != nullptr) {
    const auto class_of = [&](const RankEntry& e) { return static_cast<uint64_t>(classes[e.index]); };
    radix_sort(grouped, other, m, class_of);
    for (int64_t i = 1; i < m; ++i)
      if (class_of(grouped[i]) != class_of(grouped[i - 1])) starts.push_back(i);
  }
  starts.push_back(m);

  Scratch<uint8_t> kept(m);  // by rank
  const int64_t groups = static_cast<int64_t>(starts.size()) - 1;
  const int64_t grain = std::max<int64_t>(1, groups * 1024 / m);  // about 1,000 boxes: some 20 us
  parallel_for(groups, grain, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const RankEntry* group = grouped + starts[g];
      const int64_t size = starts[g + 1] - starts[g];
      Scratch<T> sorted(4 * size);
      Scratch<uint8_t> survives(size);
      for (int64_t i = 0; i < size; ++i) std::copy_n(boxes + 4 * int64_t{group[i].index}, 4, sorted + 4 * i);
      greedy<T>(sorted, size, threshold, survives);
      for (int64_t i = 0; i < size; ++i) kept[group[i].key] = survives[i];
    }
  });

  int64_t count = 0;
  for (int64_t r = 0; r < m; ++r) {
    keep[count] = order[r].index;
    count += kept[r];
  }
  return count;
}

template int64_t nms<float>(const float*, const float*, const int64_t*, int64_t, double, int64_t*);
template int64_t nms<double>(const double*, const double*, const int64_t*, int64_t, double, int64_t*);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
// What every non-maximum suppression does around its comparison: it orders candidates by score, keeps images
// and classes apart, and bounds the output. For files built for the baseline.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "core/arena.h"
#include "core/parallel.h"
#include "ops/nms/limit.h"

namespace pyvision {

// Boxes of different images or classes never suppress each other.
struct NmsGroups {
  const int64_t* classes = nullptr;  // (n,), or null: one class
  const int64_t* images = nullptr;   // (n,), or null: one image
  int64_t max_output = INT64_MAX;    // per image
};

// Rises as the score falls. Adding zero turns -0 into +0, which ties with it.
inline uint32_t falling_key(float score) {
  score += 0.0f;
  uint32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  return bits >> 31 ? bits : ~(bits | 0x80000000u);
}
inline uint64_t falling_key(double score) {
  score += 0.0;
  uint64_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  return bits >> 63 ? bits : ~(bits | uint64_t{1} << 63);
}

// Stable, ascending, by digits of so many bits from the lowest; digits that are the same in all keys are
// skipped. Swaps the two buffers as it goes: the sorted items are in `items` in the end. n < 2^32.
template <int kBits, class Item, class KeyOf>
void sort_by_digits(Item*& items, Item*& spare, int64_t n, KeyOf key_of) {
  using Key = decltype(key_of(*items));
  constexpr int kDigits = (8 * sizeof(Key) + kBits - 1) / kBits, kValues = 1 << kBits;
  const auto digit_of = [&](const Item& item, int digit) {
    return static_cast<int>(key_of(item) >> digit * kBits & (kValues - 1));
  };
  uint32_t position[kDigits][kValues] = {};
  for (int64_t i = 0; i < n; ++i)
    for (int digit = 0; digit < kDigits; ++digit) ++position[digit][digit_of(items[i], digit)];
  for (int digit = 0; digit < kDigits && n > 0; ++digit) {
    uint32_t* const next = position[digit];
    if (next[digit_of(items[0], digit)] == n) continue;
    uint32_t sum = 0;
    for (int value = 0; value < kValues; ++value) sum += std::exchange(next[value], sum);
    for (int64_t i = 0; i < n; ++i) spare[next[digit_of(items[i], digit)]++] = items[i];
    std::swap(items, spare);
  }
}

// The same by whatever suits n: few items are sooner put in their places than counted, many pay for longer
// tables.
template <class Item, class KeyOf>
void radix_sort(Item*& items, Item*& spare, int64_t n, KeyOf key_of) {
  if (n > 4096) return sort_by_digits<11>(items, spare, n, key_of);
  if (n > 32) return sort_by_digits<8>(items, spare, n, key_of);
  for (int64_t i = 1; i < n; ++i) {
    const Item item = items[i];
    int64_t place = i;
    for (; place > 0 && key_of(item) < key_of(items[place - 1]); --place) items[place] = items[place - 1];
    items[place] = item;
  }
}

// scores: (n,), n < 2^31; for_each(take): calls take(i, takes_part) for candidates by rising index, each once
// at most. Those it leaves out, and those with a NaN score, do not take part either.
// greedy(indices, size, limit, survives): candidates of one group by falling score; sets survives[i], and
// need not keep more than `limit`. Called from several threads, one group each.
// keep: room for n indices; receives those kept, by image and then by falling score. Returns how many.
template <class T, class ForEach, class Greedy>
int64_t suppress_among(const T* scores, int64_t n, const NmsGroups& groups, ForEach for_each, Greedy greedy,
                       int64_t* keep) {
  using Key = decltype(falling_key(T{}));
  struct Entry {
    Key key;
    uint32_t index;
  };
  Scratch<uint32_t> order_memory(n);
  uint32_t* const order = order_memory;  // order[rank]: the candidate of that rank
  int64_t m = 0;
  {
    Scratch<Entry> entry_memory(n), spare_memory(n);
    Entry *entries = entry_memory, *spare = spare_memory;
    for_each([&](int64_t i, bool takes_part) {
      entries[m] = {falling_key(scores[i]), static_cast<uint32_t>(i)};
      m += static_cast<int>(takes_part) & static_cast<int>(!std::isnan(scores[i]));
    });
    radix_sort(entries, spare, m, [](const Entry& e) { return e.key; });
    for (int64_t r = 0; r < m; ++r) order[r] = entries[r].index;
  }
  if (m == 0) return 0;

  const int64_t max_output = groups.max_output;
  Scratch<uint8_t> kept_memory(m);  // by rank
  uint8_t* const kept = kept_memory;
  const bool one_group = groups.classes == nullptr && groups.images == nullptr;
  if (one_group) {
    greedy(order, m, max_output, kept);
    int64_t count = 0;
    for (int64_t r = 0; r < m && count < max_output; ++r) {
      keep[count] = order[r];
      count += kept[r];
    }
    return count;
  }

  // Ranks, one group after the other, each by falling score; `by_image` has the classes of an image mixed.
  Scratch<uint32_t> rank_memory(m), spare_memory(m), image_memory(m);
  uint32_t *ranks = rank_memory, *spare = spare_memory, *by_image = image_memory;
  const auto sort_by = [&](uint32_t*& items, const int64_t* keys) {
    if (keys != nullptr)
      radix_sort(items, spare, m, [&](uint32_t rank) { return static_cast<uint64_t>(keys[order[rank]]); });
  };
  const auto differ = [&](const int64_t* keys, uint32_t a, uint32_t b) {
    return keys != nullptr && keys[order[a]] != keys[order[b]];
  };
  for (int64_t r = 0; r < m; ++r) ranks[r] = by_image[r] = static_cast<uint32_t>(r);
  sort_by(ranks, groups.classes);
  sort_by(ranks, groups.images);
  sort_by(by_image, groups.images);
  Scratch<int64_t> starts(m + 1);
  int64_t count_of_groups = 0;
  for (int64_t i = 0; i < m; ++i)
    if (i == 0 || differ(groups.classes, ranks[i], ranks[i - 1]) ||
        differ(groups.images, ranks[i], ranks[i - 1]))
      starts[count_of_groups++] = i;
  starts[count_of_groups] = m;

  const int64_t grain = std::max<int64_t>(1, count_of_groups * 1024 / m);  // about 1,000 boxes: some 20 us
  parallel_for(count_of_groups, grain, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const uint32_t* group = ranks + starts[g];
      const int64_t size = starts[g + 1] - starts[g];
      Scratch<uint32_t> indices(size);
      Scratch<uint8_t> survives(size);
      for (int64_t i = 0; i < size; ++i) indices[i] = order[group[i]];
      greedy(indices.get(), size, max_output, survives.get());
      for (int64_t i = 0; i < size; ++i) kept[group[i]] = survives[i];
    }
  });

  int64_t count = 0, of_image = 0;
  for (int64_t i = 0; i < m; ++i) {
    if (i > 0 && differ(groups.images, by_image[i], by_image[i - 1])) of_image = 0;
    if (!kept[by_image[i]] || of_image == max_output) continue;
    ++of_image;
    keep[count++] = order[by_image[i]];
  }
  return count;
}

// The same of all candidates i for which valid(i) holds.
template <class T, class Valid, class Greedy>
int64_t suppress(const T* scores, int64_t n, const NmsGroups& groups, Valid valid, Greedy greedy,
                 int64_t* keep) {
  const auto for_each = [&](auto take) {
    for (int64_t i = 0; i < n; ++i) take(i, valid(i));
  };
  return suppress_among(scores, n, groups, for_each, greedy, keep);
}

}  // namespace pyvision

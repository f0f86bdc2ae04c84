// SPDX-License-Identifier: Apache-2.0
// Greedy suppression of anything that overlaps: nms.cuh says how. Shapes, with Score the scores' type and
// Item what is held of one of them:
//   Item load(i)                         the i-th of the caller's
//   bool valid(item), wide(item)         takes part; has to be compared in double, with all of its group
//   bool hits(a, b, bool in_double)      overlaps by more than the threshold
#pragma once

#include "common/keys.cuh"
#include "common/launch.cuh"
#include "common/scan.cuh"
#include "common/sort.h"
#include "common/workspace.h"
#include "nms.cuh"

namespace pyvision::cuda {

constexpr int kTile = 64;     // boxes to a word of the bit matrix
constexpr int kChunk = 4096;  // boxes decided together: their 2 MB of bits stay in L2
constexpr int kWords = kChunk / kTile;
static_assert(kWords == kTile, "the sweep has one thread for each word of a row and for each row of a tile");
constexpr int kThreads = 256;  // of the element-wise kernels

// ---- keys ----

template <class T, class Key>
__global__ void score_keys(const T* scores, int64_t n, Key* keys, int32_t* values) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  keys[i] = falling_key(scores[i]);
  values[i] = static_cast<int32_t>(i);
}

// keys[q] = labels[order[q]], by which the CPU sorts too: negative ones come last
template <class = void>
__global__ void label_keys(const int64_t* labels, const int32_t* order, int64_t n, uint64_t* keys) {
  const int64_t q = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (q < n) keys[q] = static_cast<uint64_t>(labels[order[q]]);
}

// ---- boxes in order ----

// heads[p]: whether sorted box p begins a group
template <class = void>
__global__ void group_heads(const int64_t* classes, const int64_t* images, const int32_t* order, int64_t n,
                            int32_t* heads) {
  const int64_t p = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (p >= n) return;
  const int32_t i = order[p], j = p > 0 ? order[p - 1] : i;
  heads[p] = p > 0 && ((classes != nullptr && classes[i] != classes[j]) ||
                       (images != nullptr && images[i] != images[j]));
}

// groups: (n,) or null: one group. wide[g] becomes 1 where group g has to be compared in double.
template <class Shape>
__global__ void gather(Shape shape, const typename Shape::Score* scores, const int32_t* order,
                       const int32_t* groups, int64_t n, typename Shape::Item* sorted, uint8_t* removed,
                       int32_t* wide) {
  const int64_t p = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (p >= n) return;
  const int32_t i = order[p];
  const typename Shape::Item item = shape.load(i);
  const bool valid = shape.valid(item) && scores[i] == scores[i];
  sorted[p] = item;
  removed[p] = !valid;
  if (valid && shape.wide(item)) atomicOr(wide + (groups == nullptr ? 0 : groups[p]), 1);
}

// ---- greedy suppression over sorted boxes ----

template <class Shape>
struct Sorted {
  Shape shape;
  const typename Shape::Item* items;  // (n,)
  const int32_t* groups;              // (n,), rising, or null
  const int32_t* wide;                // per group
  int64_t n;

  __device__ int32_t group(int64_t p) const { return groups == nullptr ? 0 : groups[p]; }
};

// mask[row * kWords + word]: the boxes of the chunk that box `row` of it suppresses. Block (word, row tile);
// tiles below the diagonal are not read.
template <class Shape>
__global__ void suppression_mask(Sorted<Shape> sorted, int64_t first, int count, const int64_t* total,
                                 int64_t enough, uint64_t* mask) {
  __shared__ typename Shape::Item columns[kTile];
  __shared__ int32_t column_groups[kTile];
  const int word = static_cast<int>(blockIdx.x), tile = static_cast<int>(blockIdx.y);
  if (word < tile || *total >= enough) return;
  const int thread = static_cast<int>(threadIdx.x), column = word * kTile + thread;
  if (column < count) {
    columns[thread] = sorted.items[first + column];
    column_groups[thread] = sorted.group(first + column);
  }
  __syncthreads();
  const int row = tile * kTile + thread;
  if (row >= count) return;
  const typename Shape::Item item = sorted.items[first + row];
  const int32_t group = sorted.group(first + row);
  const bool in_double = sorted.wide[group] != 0;
  uint64_t bits = 0;
  const int begin = word == tile ? thread + 1 : 0, end = min(kTile, count - word * kTile);
  for (int j = begin; j < end; ++j)
    if (column_groups[j] == group && sorted.shape.hits(item, columns[j], in_double)) bits |= uint64_t{1} << j;
  mask[int64_t{row} * kWords + word] = bits;
}

// One block of kWords threads; thread w holds the fate of the chunk's boxes [64 w, 64 w + 64). Box by box in
// order: one that is still alive is kept, and removes what it suppresses.
template <class = void>
__global__ void sweep(const uint64_t* mask, int64_t first, int count, int64_t enough, uint8_t* removed,
                      int32_t* survivors, int32_t* survivor_count, int64_t* total) {
  __shared__ uint64_t diagonal[kTile];
  __shared__ uint64_t alive_word;
  __shared__ int kept_so_far;
  const int w = static_cast<int>(threadIdx.x), tiles = (count + kTile - 1) / kTile;
  const int64_t before = *total;
  if (w == 0) *survivor_count = 0;
  if (before >= enough) return;  // the same for all threads
  uint64_t dead = 0;
  for (int j = 0; j < kTile; ++j) {
    const int row = w * kTile + j;
    if (row >= count || removed[first + row]) dead |= uint64_t{1} << j;
  }
  if (w == 0) kept_so_far = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    const int row = tile * kTile + w;
    diagonal[w] = row < count ? mask[int64_t{row} * kWords + tile] : 0;
    __syncthreads();
    if (w == tile) {
      uint64_t alive = 0;
      for (uint64_t rest = ~dead; rest != 0;) {
        const int j = __ffsll(static_cast<long long>(rest)) - 1;
        alive |= uint64_t{1} << j;
        rest &= ~(diagonal[j] | uint64_t{1} << j);
      }
      dead = ~alive;
      alive_word = alive;
    }
    __syncthreads();
    if (w > tile && w < tiles)
      for (uint64_t rest = alive_word; rest != 0; rest &= rest - 1)
        dead |= mask[int64_t{tile * kTile + __ffsll(static_cast<long long>(rest)) - 1} * kWords + w];
    if (alive_word >> w & 1)
      survivors[kept_so_far + __popcll(alive_word & ((uint64_t{1} << w) - 1))] = tile * kTile + w;
    __syncthreads();
    if (w == 0) kept_so_far += __popcll(alive_word);
  }
  __syncthreads();
  for (int j = 0; j < kTile && w * kTile + j < count; ++j) removed[first + w * kTile + j] = dead >> j & 1;
  if (w == 0) {
    *survivor_count = kept_so_far;
    *total = before + kept_so_far;
  }
}

// Every box from `begin` on against the chunk's survivors.
template <class Shape>
__global__ void suppress_later(Sorted<Shape> sorted, int64_t first, const int32_t* survivors,
                               const int32_t* survivor_count, int64_t begin, uint8_t* removed) {
  using Item = typename Shape::Item;
  __shared__ Item kept[kThreads];
  __shared__ int32_t kept_groups[kThreads];
  const int thread = static_cast<int>(threadIdx.x), count = *survivor_count;
  const int64_t block_begin = begin + int64_t{blockIdx.x} * kThreads, p = block_begin + thread;
  if (count == 0 || sorted.group(first + survivors[count - 1]) < sorted.group(block_begin)) return;
  bool alive = p < sorted.n && !removed[p];
  const Item item = alive ? sorted.items[p] : Item{};
  const int32_t group = alive ? sorted.group(p) : -1;
  const bool in_double = alive && sorted.wide[group] != 0;
  bool hit = false;
  for (int at = 0; at < count; at += kThreads) {
    if (at + thread < count) {
      const int64_t q = first + survivors[at + thread];
      kept[thread] = sorted.items[q];
      kept_groups[thread] = sorted.group(q);
    }
    __syncthreads();
    const int end = min(kThreads, count - at);
    for (int j = 0; j < end && alive; ++j) {
      hit = kept_groups[j] == group && sorted.shape.hits(kept[j], item, in_double);
      alive = !hit;
    }
    __syncthreads();
  }
  if (hit) removed[p] = 1;
}

// ---- the result ----

template <class = void>
__global__ void flags_by_box(const int32_t* order, const uint8_t* removed, int64_t n, uint8_t* kept) {
  const int64_t p = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (p < n) kept[order[p]] = !removed[p];
}

template <class = void>
__global__ void flags_in_order(const int32_t* order, const uint8_t* kept, int64_t n, int32_t* flags) {
  const int64_t q = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (q < n) flags[q] = kept[order[q]];
}

// Of each image only the first `limit`. keys: (n,), rising: the images; counts: inclusive sums of the flags.
template <class = void>
__global__ void limit_images(const uint64_t* keys, const int32_t* counts, int64_t n, int64_t limit,
                             int32_t* flags) {
  const int64_t q = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (q >= n) return;
  int64_t low = 0, high = q;  // the image's first: in [low, high]
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (keys[middle] < keys[q]) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (counts[q] - (low > 0 ? counts[low - 1] : 0) > limit) flags[q] = 0;
}

template <class = void>
__global__ void emit(const int32_t* order, const int32_t* flags, const int32_t* counts, int64_t n,
                     int64_t limit, int64_t* keep, int64_t room, int64_t* count) {
  const int64_t q = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t all = n > 0 ? counts[n - 1] : 0, kept = all < limit ? all : limit;
  if (q < n && flags[q] && counts[q] <= kept && counts[q] <= room) keep[counts[q] - 1] = order[q];
  if (q >= kept && q < room) keep[q] = -1;
  if (q == 0) *count = kept;
}

// ---- launches ----

template <class T>
struct KeyOf {
  using Type = uint32_t;
};
template <>
struct KeyOf<double> {
  using Type = uint64_t;
};

template <class Shape>
struct Buffers {
  using Key = typename KeyOf<typename Shape::Score>::Type;
  using Item = typename Shape::Item;
  Key *keys, *sorted_keys;
  uint64_t *labels, *image_keys, *class_keys;
  int32_t *order, *by_score, *by_image, *by_group;  // by_image, by_group: by_score where there are none
  int32_t *groups, *wide, *flags, *counts, *survivors, *survivor_count;
  int64_t* total;
  Item* items;
  uint8_t *removed, *kept;
  uint64_t* mask;
  char* temporary;
  size_t temporary_bytes, bytes;

  Buffers(const Stream& stream, const NmsProblem& p, void* memory) {
    Workspace space(memory);
    const bool labelled = p.classes != nullptr || p.images != nullptr;
    keys = space.take<Key>(p.n);
    sorted_keys = space.take<Key>(p.n);
    labels = labelled ? space.take<uint64_t>(p.n) : nullptr;
    image_keys = p.images ? space.take<uint64_t>(p.n) : nullptr;
    class_keys = p.classes ? space.take<uint64_t>(p.n) : nullptr;
    order = space.take<int32_t>(p.n);
    by_score = space.take<int32_t>(p.n);
    by_image = p.images ? space.take<int32_t>(p.n) : by_score;
    by_group = p.classes ? space.take<int32_t>(p.n) : by_image;
    groups = labelled ? space.take<int32_t>(p.n) : nullptr;
    wide = space.take<int32_t>(labelled ? p.n : 1);
    flags = space.take<int32_t>(p.n);
    counts = space.take<int32_t>(p.n);
    survivors = space.take<int32_t>(kChunk);
    survivor_count = space.take<int32_t>(1);
    total = space.take<int64_t>(1);
    items = space.take<Item>(p.n);
    removed = space.take<uint8_t>(p.n);
    kept = space.take<uint8_t>(p.n);
    mask = space.take<uint64_t>(int64_t{kChunk} * kWords);
    temporary_bytes = p.n == 0 ? 0 : sort_temporary_bytes<Key>("nms", stream, p.n);
    if (labelled && p.n > 0) {
      const size_t of_labels = sort_temporary_bytes<uint64_t>("nms", stream, p.n);
      if (of_labels > temporary_bytes) temporary_bytes = of_labels;
    }
    temporary = space.take<char>(static_cast<int64_t>(temporary_bytes));
    bytes = space.bytes();
  }
};

template <class = void>
__global__ void zero(int32_t* wide, int64_t n, int64_t* total) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) wide[i] = 0;
  if (i == 0) *total = 0;
}

template <class Shape>
void suppress(const char* op, const Stream& stream, const NmsProblem& p, const Shape& shape, void* workspace,
              int64_t* keep, int64_t room, int64_t* count) {
  using T = typename Shape::Score;
  using Key = typename KeyOf<T>::Type;
  const Buffers<Shape> b(stream, p, workspace);
  const auto each = [](int64_t n) { return LaunchShape{blocks_of(n, kThreads), kThreads}; };
  const auto* scores = static_cast<const T*>(p.scores);
  const bool labelled = b.groups != nullptr;

  if (p.n > 0) {
    launch(op, stream, each(p.n), score_keys<T, Key>, scores, p.n, b.keys, b.order);
    sort_pairs<Key>(op, stream, b.keys, b.order, p.n, b.temporary, b.temporary_bytes, b.sorted_keys,
                    b.by_score);
    if (p.images != nullptr) {
      launch(op, stream, each(p.n), label_keys<>, p.images, b.by_score, p.n, b.labels);
      sort_pairs<uint64_t>(op, stream, b.labels, b.by_score, p.n, b.temporary, b.temporary_bytes,
                           b.image_keys, b.by_image);
    }
    if (p.classes != nullptr) {
      launch(op, stream, each(p.n), label_keys<>, p.classes, b.by_image, p.n, b.labels);
      sort_pairs<uint64_t>(op, stream, b.labels, b.by_image, p.n, b.temporary, b.temporary_bytes,
                           b.class_keys, b.by_group);
    }
    launch(op, stream, each(labelled ? p.n : 1), zero<>, b.wide, labelled ? p.n : 1, b.total);
    if (labelled) {
      launch(op, stream, each(p.n), group_heads<>, p.classes, p.images, b.by_group, p.n, b.flags);
      inclusive_scan(op, stream, b.flags, p.n, b.groups);
    }
    launch(op, stream, each(p.n), gather<Shape>, shape, scores, b.by_group, b.groups, p.n, b.items, b.removed,
           b.wide);
  }
  const Sorted<Shape> sorted = {shape, b.items, b.groups, b.wide, p.n};
  // With one group the first max_output boxes are final as soon as they are known.
  const int64_t enough = labelled ? INT64_MAX : p.max_output;
  for (int64_t first = 0; first < p.n; first += kChunk) {
    const int64_t next = first + kChunk < p.n ? first + kChunk : p.n;
    const int in_chunk = static_cast<int>(next - first);
    const unsigned tiles = blocks_of(in_chunk, kTile);
    launch(op, stream, {{tiles, tiles}, kTile}, suppression_mask<Shape>, sorted, first, in_chunk, b.total,
           enough, b.mask);
    launch(op, stream, {1, kWords}, sweep<>, b.mask, first, in_chunk, enough, b.removed, b.survivors,
           b.survivor_count, b.total);
    launch(op, stream, each(p.n - next), suppress_later<Shape>, sorted, first, b.survivors, b.survivor_count,
           next, b.removed);
  }
  int64_t limit = p.max_output;
  if (p.n > 0) {
    launch(op, stream, each(p.n), flags_by_box<>, b.by_group, b.removed, p.n, b.kept);
    launch(op, stream, each(p.n), flags_in_order<>, b.by_image, b.kept, p.n, b.flags);
    inclusive_scan(op, stream, b.flags, p.n, b.counts);
    if (p.images != nullptr && limit < p.n) {
      launch(op, stream, each(p.n), limit_images<>, b.image_keys, b.counts, p.n, limit, b.flags);
      inclusive_scan(op, stream, b.flags, p.n, b.counts);
    }
    if (p.images != nullptr) limit = INT64_MAX;
  }
  const int64_t largest = p.n > room ? p.n : room;
  launch(op, stream, each(largest > 0 ? largest : 1), emit<>, b.by_image, b.flags, b.counts, p.n, limit, keep,
         room, count);
}

}  // namespace pyvision::cuda

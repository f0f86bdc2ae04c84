// SPDX-License-Identifier: Apache-2.0
// Lists of pixels of all levels at once, always in the order of levels and of pixels: places come from
// running sums, never from the order in which blocks happen to run.
#pragma once

#include "common/launch.cuh"
#include "common/scan.cuh"
#include "common/workspace.h"
#include "features/levels.cuh"

namespace pyvision::cuda {

constexpr int kListThreads = 1024;

// Level l's items stand at [begins[l], begins[l] + counts[l]).
struct ItemList {
  int32_t* items = nullptr;                      // (room,)
  uint32_t* keys = nullptr;                      // (room,), of which greater ones are stronger
  int32_t *begins = nullptr, *counts = nullptr;  // (kMaxLevels,)

  ItemList() = default;
  ItemList(Workspace* workspace, int64_t room)
      : items(workspace->take<int32_t>(room)),
        keys(workspace->take<uint32_t>(room)),
        begins(workspace->take<int32_t>(kMaxLevels)),
        counts(workspace->take<int32_t>(kMaxLevels)) {}
};

// Items of all levels in chunks of kListThreads that no two levels share.
struct Chunks {
  int levels = 0;
  unsigned begins[kMaxLevels + 1] = {};

  // sizes(l): how many items level l has
  template <class Sizes>
  Chunks(int level_count, Sizes sizes) : levels(level_count) {
    for (int l = 0; l < levels; ++l)
      begins[l + 1] = begins[l] + blocks_of(sizes(l) > 0 ? sizes(l) : 1, kListThreads);
  }
  explicit Chunks(int64_t items) : Chunks(1, [=](int) { return items; }) {}

  unsigned count() const { return begins[levels]; }
};

// Bits of items, left by marking for listing.
struct Marks {
  Chunks chunks;
  uint32_t* bits;          // (chunks, 32)
  int32_t *counts, *ends;  // (chunks,)

  Marks(Workspace* workspace, const Chunks& of)
      : chunks(of),
        bits(workspace->take<uint32_t>(int64_t{of.count()} * 32)),
        counts(workspace->take<int32_t>(of.count())),
        ends(workspace->take<int32_t>(of.count())) {}

  const int32_t* total() const { return ends + chunks.count() - 1; }  // (1,), of all levels together
};

__device__ inline int level_of_block(const Chunks& chunks) {
  int level = 0;
  while (blockIdx.x >= chunks.begins[level + 1]) ++level;
  return level;
}
__device__ inline int64_t item_of_thread(const Chunks& chunks, int level) {
  return int64_t{blockIdx.x - chunks.begins[level]} * kListThreads + threadIdx.x;
}

template <class Keep>
__global__ void __launch_bounds__(kListThreads)
    mark_items(const __grid_constant__ Chunks chunks, const __grid_constant__ Keep keep, uint32_t* bits,
               int32_t* counts) {
  const int level = level_of_block(chunks);
  const bool listed = keep(level, item_of_thread(chunks, level));
  const uint32_t word = __ballot_sync(0xffffffffu, listed);
  if (threadIdx.x % 32 == 0) bits[int64_t{blockIdx.x} * 32 + threadIdx.x / 32] = word;
  const int count = __syncthreads_count(listed);
  if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

template <class Emit>
__global__ void __launch_bounds__(kListThreads)
    list_items(const __grid_constant__ Chunks chunks, const uint32_t* bits, const int32_t* ends,
               const __grid_constant__ Emit emit) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const uint32_t words = bits[int64_t{blockIdx.x} * 32 + lane];
  int before = lane < warp ? __popc(words) : 0;
  for (int apart = 16; apart > 0; apart /= 2) before += __shfl_xor_sync(0xffffffffu, before, apart);
  const uint32_t word = __shfl_sync(0xffffffffu, words, warp);
  if ((word >> lane & 1) == 0) return;
  const int32_t place =
      (blockIdx.x > 0 ? ends[blockIdx.x - 1] : 0) + before + __popc(word & ((1u << lane) - 1));
  const int level = level_of_block(chunks);
  emit(level, item_of_thread(chunks, level), place);
}

// begins and counts of levels from the running sums; one block of a thread for each level.
template <class = void>
__global__ void level_spans(const __grid_constant__ Chunks chunks, const int32_t* ends, int32_t* begins,
                            int32_t* counts) {
  const int level = static_cast<int>(threadIdx.x);
  const int32_t begin = level > 0 ? ends[chunks.begins[level] - 1] : 0;
  begins[level] = begin;
  counts[level] = ends[chunks.begins[level + 1] - 1] - begin;
}

// keep(level, item): whether it is listed, also asked of items behind a level's last.
template <class Keep>
void mark(const char* op, const Stream& stream, const Marks& marks, const Keep& keep) {
  launch(op, stream, {marks.chunks.count(), kListThreads}, mark_items<Keep>, marks.chunks, keep, marks.bits,
         marks.counts);
  inclusive_scan(op, stream, marks.counts, marks.chunks.count(), marks.ends);
}

// emit(level, item, place): puts it there.
template <class Emit>
void list(const char* op, const Stream& stream, const Marks& marks, const Emit& emit) {
  launch(op, stream, {marks.chunks.count(), kListThreads}, list_items<Emit>, marks.chunks, marks.bits,
         marks.ends, emit);
}

// count: (1,), of all levels together
inline void put_total(const char* op, const Stream& stream, const Marks& marks, int32_t* count) {
  put_last(op, stream, marks.ends, marks.chunks.count(), INT32_MAX, count);
}

// begins, counts: (levels,)
inline void find_spans(const char* op, const Stream& stream, const Marks& marks, int32_t* begins,
                       int32_t* counts) {
  launch(op, stream, {1, static_cast<unsigned>(marks.chunks.levels)}, level_spans<>, marks.chunks, marks.ends,
         begins, counts);
}

// How many are wanted of each level.
struct Wanted {
  int64_t of[kMaxLevels];
};

// The number of threads of the block before this one whose flag is set; total: of all threads. All call it.
__device__ inline int rank_in_block(bool flag, int32_t* warp_counts, int* total) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const uint32_t word = __ballot_sync(0xffffffffu, flag);
  __syncthreads();  // the counts of the call before have been read
  if (lane == 0) warp_counts[warp] = __popc(word);
  __syncthreads();
  const int count = warp_counts[lane];
  int before = lane < warp ? count : 0, all = count;
  for (int apart = 16; apart > 0; apart /= 2) {
    before += __shfl_xor_sync(0xffffffffu, before, apart);
    all += __shfl_xor_sync(0xffffffffu, all, apart);
  }
  *total = all;
  return before + __popc(word & ((1u << lane) - 1));
}

// The strongest items of each level, in their order: a block to a level narrows the least key down by 8 bits
// at a time. Of those that have it the first are taken, or with `ties` all.
template <int kKeyBits>
__global__ void __launch_bounds__(kListThreads)
    select_strongest(ItemList from, const __grid_constant__ Wanted wanted, bool ties, ItemList to) {
  __shared__ int32_t histogram[256], warp_counts[32];
  __shared__ uint32_t found_digit;
  __shared__ int32_t found_left;
  const int level = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int32_t begin = from.begins[level], count = from.counts[level];
  int64_t left = wanted.of[level];  // still to be found below the digits known
  uint32_t least = 0, known = 0;
  if (left >= count) {
    left = count;  // all: those above a key of 0, and as many of it as there are
  } else {
    for (int shift = kKeyBits - 8; shift >= 0; shift -= 8) {
      if (thread < 256) histogram[thread] = 0;
      __syncthreads();
      for (int32_t i = thread; i < count; i += kListThreads) {
        const uint32_t key = from.keys[begin + i];
        if ((key & known) == least) atomicAdd(&histogram[key >> shift & 255], 1);
      }
      __syncthreads();
      if (thread < 32) {  // the digit above which there are fewer than are wanted; a lane has eight
        int32_t mine = 0;
        for (int i = 0; i < 8; ++i) mine += histogram[8 * lane + i];
        int32_t above = mine;  // of this lane and all later ones
        for (int delta = 1; delta < 32; delta *= 2) {
          const int32_t later = __shfl_down_sync(0xffffffffu, above, delta);
          if (lane + delta < 32) above += later;
        }
        above -= mine;
        if (above < left && left <= above + mine) {
          int digit = 8 * lane + 7;
          for (; above + histogram[digit] < left; --digit) above += histogram[digit];
          found_digit = static_cast<uint32_t>(digit);
          found_left = static_cast<int32_t>(left - above);
        }
      }
      __syncthreads();
      if (left > 0) {
        least |= found_digit << shift;
        left = found_left;
      }
      known |= 255u << shift;
    }
    if (wanted.of[level] == 0)
      least = UINT32_MAX;
    else if (ties)
      left = count;
  }
  int32_t tied_before = 0, kept_before = 0;
  for (int32_t first = 0; first < count; first += kListThreads) {
    const int32_t i = first + thread;
    const uint32_t key = i < count ? from.keys[begin + i] : 0;
    const bool tied = i < count && key == least;
    int all_tied, all_kept;
    const int tie = rank_in_block(tied, warp_counts, &all_tied);
    const bool kept = i < count && (key > least || (tied && tied_before + tie < left));
    const int place = rank_in_block(kept, warp_counts, &all_kept);
    if (kept) {
      to.items[begin + kept_before + place] = from.items[begin + i];
      to.keys[begin + kept_before + place] = key;
    }
    tied_before += all_tied;
    kept_before += all_kept;
  }
  if (thread == 0) {
    to.begins[level] = begin;
    to.counts[level] = kept_before;
  }
}

}  // namespace pyvision::cuda

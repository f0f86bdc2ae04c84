// SPDX-License-Identifier: Apache-2.0
#include "ops/pixel_shuffle/pixel_shuffle.h"

#include <algorithm>

#include "core/parallel.h"

namespace pyvision {
namespace {

// One row of a fine plane, `w` times `r` values, and the rows of the coarse planes, `plane` apart, that
// alternate in it. kFactor: r where it is known at compile time, so that the loop becomes shuffles of vectors
template <bool kToFine, int kFactor, class T>
void interleave(T* __restrict fine, T* __restrict coarse, int64_t plane, int64_t w, int64_t factor) {
  const int64_t r = kFactor > 0 ? kFactor : factor;
  for (int64_t i = 0; i < w; ++i) {
    for (int64_t j = 0; j < r; ++j) {
      if constexpr (kToFine)
        fine[i * r + j] = coarse[j * plane + i];
      else
        coarse[j * plane + i] = fine[i * r + j];
    }
  }
}

// A coarse pixel's channels, `r` pixels of a row of the fine map: (r, channels) and (channels, r, r)
template <bool kToFine, class T>
void regroup(T* __restrict fine, T* __restrict coarse, int64_t channels, int64_t r) {
  for (int64_t j = 0; j < r; ++j) {
    for (int64_t c = 0; c < channels; ++c) {
      if constexpr (kToFine)
        fine[j * channels + c] = coarse[c * r * r + j];
      else
        coarse[c * r * r + j] = fine[j * channels + c];
    }
  }
}

constexpr int64_t kGrain = 1 << 15;  // values, some 10 us

template <bool kToFine, class T>
void move_planes(const PixelShuffle& job, T* fine, T* coarse) {
  const int64_t r = job.factor, plane = job.h * job.w, rows = job.n * job.channels * job.h * r;
  auto* const run = r == 2   ? interleave<kToFine, 2, T>
                    : r == 3 ? interleave<kToFine, 3, T>
                    : r == 4 ? interleave<kToFine, 4, T>
                             : interleave<kToFine, 0, T>;
  parallel_for(rows, std::max<int64_t>(1, kGrain / (job.w * r)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {                           // of all fine planes
      const int64_t i = row % r, h = row / r % job.h, c = row / r / job.h;  // c: [0, n * channels)
      run(fine + row * job.w * r, coarse + (c * r + i) * r * plane + h * job.w, plane, job.w, r);
    }
  });
}

template <bool kToFine, class T>
void move_pixels(const PixelShuffle& job, T* fine, T* coarse) {
  const int64_t r = job.factor, step = job.channels * r, rows = job.n * job.h * r;
  parallel_for(rows, std::max<int64_t>(1, kGrain / (job.w * step)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {  // of all fine maps
      const int64_t i = row % r, h = row / r;      // h: [0, n * h)
      for (int64_t w = 0; w < job.w; ++w)
        regroup<kToFine>(fine + (row * job.w + w) * step, coarse + (h * job.w + w) * step * r + i * r,
                         job.channels, r);
    }
  });
}

template <bool kToFine, class T>
void move_all(const PixelShuffle& job, T* fine, T* coarse) {
  if (job.n * job.channels * job.h * job.w == 0) return;
  (job.planar ? move_planes<kToFine, T> : move_pixels<kToFine, T>)(job, fine, coarse);
}

// Calls body with a null pointer to an unsigned integer of `size` bytes.
template <class Body>
void with_element(int64_t size, Body body) {
  if (size == 1) return body(static_cast<uint8_t*>(nullptr));
  if (size == 2) return body(static_cast<uint16_t*>(nullptr));
  if (size == 4) return body(static_cast<uint32_t*>(nullptr));
  body(static_cast<uint64_t*>(nullptr));
}

}  // namespace

void pixel_shuffle(const PixelShuffle& job, int64_t size, const void* coarse, void* fine) {
  with_element(size, [&](auto* type) {
    using Pointer = decltype(type);
    move_all<true>(job, static_cast<Pointer>(fine), static_cast<Pointer>(const_cast<void*>(coarse)));
  });
}

void pixel_unshuffle(const PixelShuffle& job, int64_t size, const void* fine, void* coarse) {
  with_element(size, [&](auto* type) {
    using Pointer = decltype(type);
    move_all<false>(job, static_cast<Pointer>(const_cast<void*>(fine)), static_cast<Pointer>(coarse));
  });
}

}  // namespace pyvision

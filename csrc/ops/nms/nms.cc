// SPDX-License-Identifier: Apache-2.0
#include "ops/nms/nms.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <type_traits>

#include "ops/boxes/geometry.h"
#include "ops/nms/over_grid.h"

namespace pyvision {
namespace {

// boxes: (size, 4) by falling score
template <class T>
void greedy(const T* boxes, int64_t size, double threshold, int64_t limit, uint8_t* survives) {
  const T limited = nms_limit(T{}, threshold);
  if constexpr (std::is_same_v<T, float>)
    nms_over_grid(nms_kernels().greedy_f32, boxes, size, 4, limited, limit, survives);
  else
    nms_over_grid(nms_kernels().greedy_f64, boxes, size, 4, limited, limit, survives);
}

// for_each: as suppress_among has it, of finite boxes
template <class T, class ForEach>
int64_t nms_among(const T* boxes, const T* scores, int64_t n, const NmsGroups& groups, double threshold,
                  ForEach for_each, int64_t* keep) {
  return suppress_among(
      scores, n, groups, for_each,
      [&](const uint32_t* indices, int64_t size, int64_t limit, uint8_t* survives) {
        Scratch<T> sorted(4 * size);
        parallel_for(size, 4096, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            std::copy_n(boxes + 4 * int64_t{indices[i]}, 4, sorted + 4 * i);
        });
        if constexpr (std::is_same_v<T, float>) {
          if (!areas_fit_f32(sorted, size)) {
            Scratch<double> wide(4 * size);
            std::copy_n(sorted.get(), 4 * size, wide.get());
            return greedy<double>(wide, size, threshold, limit, survives);
          }
        }
        greedy<T>(sorted, size, threshold, limit, survives);
      },
      keep);
}

// Some of many boxes: one of each stretch, at no fixed distance, for boxes may repeat at one, as those of
// classes do.
struct Sample {
  static constexpr int64_t kCount = 2 * NmsLeaders::kMost;
  int64_t index[kCount];

  explicit Sample(int64_t n) {
    for (int64_t k = 0; k < kCount; ++k) index[k] = n * k / kCount + k * 0x9e3779b1 % (n / kCount);
  }
};

NmsLeaders leaders_of(const float* boxes, const int64_t* indices, int64_t count, double threshold) {
  NmsLeaders leaders;
  leaders.count = static_cast<int>(count);
  leaders.share = static_cast<float>(threshold / (1 + threshold)) + NmsLeaders::kSlack;
  for (int64_t k = 0; k < count; ++k) {
    const float* const box = boxes + 4 * indices[k];
    std::copy_n(box, 4, leaders.box[k]);
    leaders.box[k][4] = leaders.share * area_of(box);
  }
  return leaders;
}

// Whether one half of the sample overlaps a fair part of the other.
bool crowded(const float* boxes, const Sample& sample, double threshold) {
  constexpr int kHalf = NmsLeaders::kMost;
  float others[kHalf * 4];
  for (int k = 0; k < kHalf; ++k) std::copy_n(boxes + 4 * sample.index[2 * k + 1], 4, others + 4 * k);
  int64_t indices[kHalf];
  for (int k = 0; k < kHalf; ++k) indices[k] = sample.index[2 * k];
  uint64_t left[kHalf / 64];
  if (!nms_kernels().thin(others, 0, kHalf, leaders_of(boxes, indices, kHalf, threshold), left)) return false;
  int count = 0;
  for (const uint64_t word : left) count += __builtin_popcountll(word);
  return 4 * count <= 3 * kHalf;
}

// The first boxes by falling score, roughly so many: those up to one of the sample.
class Leading {
 public:
  Leading(const float* scores, int64_t n, const Sample& sample, int64_t about) : scores_(scores), n_(n) {
    int64_t ordered[Sample::kCount];
    int64_t* const end = std::copy_if(sample.index, sample.index + Sample::kCount, ordered,
                                      [&](int64_t i) { return !std::isnan(scores[i]); });
    if (end == ordered) return;
    int64_t* const last = ordered + (end - ordered) * about / n;
    std::partial_sort(ordered, last + 1, end, [&](int64_t a, int64_t b) {
      return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
    });
    last_ = *last;
    least_ = scores[last_];
  }

  // Calls body(i) for each by rising index.
  template <class Body>
  void for_each(Body body) const {
    constexpr int64_t kAtOnce = 32;  // scores, compared by vectors: most often none leads
    for (int64_t i = 0; i < n_; i += kAtOnce) {
      const bool whole = n_ - i >= kAtOnce;
      if (whole) {
        int some = 0;
        for (int64_t k = 0; k < kAtOnce; ++k) some |= scores_[i + k] >= least_;
        if (some == 0) continue;
      }
      for (int64_t k = i; k < (whole ? i + kAtOnce : n_); ++k)
        if (scores_[k] > least_ || (scores_[k] == least_ && k <= last_)) body(k);
    }
  }

 private:
  const float* scores_;  // (n,)
  int64_t n_, last_ = -1;
  float least_ = INFINITY;
};

// Where boxes crowd, the first few by score suppress most of the others, whatever these's order: they are
// held against all of them before those that are left are sorted. And where few are wanted, the first by
// score may be enough: then none of the others is left. left: ((n + 63) / 64,) words, receives a bit per box
// that is left; keep: room for n indices, its contents are lost. False where it does not pay.
bool thin(const float* boxes, const float* scores, int64_t n, NmsGroups groups, double threshold,
          int64_t* keep, uint64_t* left) {
  const Sample sample(n);
  const bool crowd = crowded(boxes, sample, threshold), few = groups.max_output <= n / 128;
  if (!crowd && !few) return false;
  const int64_t least = std::min<int64_t>(n / 32, 2 * NmsLeaders::kMost);
  const int64_t about = few ? std::max(least, 4 * groups.max_output) : least;
  const Leading leading(scores, n, sample, about);
  int64_t all = 0;
  const auto for_each = [&](auto take) {
    leading.for_each([&](int64_t i) {
      take(i, finite_box(boxes + 4 * i));
      ++all;
    });
  };
  if (!few) groups.max_output = about / 2;
  const int64_t count = nms_among(boxes, scores, n, groups, threshold, for_each, keep);
  const bool are_enough = few && count == groups.max_output;
  // A look at a leader costs each of the others a part of what they cost if they stay.
  constexpr int64_t kLooks = 256;
  if (!are_enough &&
      (!crowd || count >= about / 2 || count > NmsLeaders::kMost || all * count >= (all - count) * kLooks))
    return false;

  // Without leaders it is still to be known whether float32 may decide.
  const NmsLeaders leaders = leaders_of(boxes, keep, are_enough ? 0 : count, threshold);
  std::atomic<bool> fit{true};
  parallel_for(n, 1024, [&](int64_t begin, int64_t end) {  // whole words, some 10 us
    if (!nms_kernels().thin(boxes, begin, end, leaders, left)) fit = false;
  });
  if (are_enough) std::fill_n(left, (n + 63) / 64, 0);
  for (int64_t k = 0; k < count; ++k)
    left[keep[k] / 64] |= uint64_t{1} << keep[k] % 64;  // they overlap themselves
  return fit;
}

}  // namespace

template <class T>
int64_t nms(const T* boxes, const T* scores, int64_t n, const NmsGroups& groups, double threshold,
            int64_t* keep) {
  const auto all = [&](auto take) {
    for (int64_t i = 0; i < n; ++i) take(i, finite_box(boxes + 4 * i));
  };
  if constexpr (std::is_same_v<T, float>) {
    constexpr int64_t kFewest = 2048;  // fewer are sooner sorted
    if (n >= kFewest && groups.classes == nullptr && groups.images == nullptr) {
      const int64_t words = (n + 63) / 64;
      Scratch<uint64_t> left(words);
      const auto those_left = [&](auto take) {
        for (int64_t word = 0; word < words; ++word)
          for (uint64_t bits = left[word]; bits != 0; bits &= bits - 1)
            take(64 * word + __builtin_ctzll(bits), true);
      };
      if (thin(boxes, scores, n, groups, threshold, keep, left))
        return nms_among(boxes, scores, n, groups, threshold, those_left, keep);
    }
  }
  return nms_among(boxes, scores, n, groups, threshold, all, keep);
}

template int64_t nms<float>(const float*, const float*, int64_t, const NmsGroups&, double, int64_t*);
template int64_t nms<double>(const double*, const double*, int64_t, const NmsGroups&, double, int64_t*);

}  // namespace pyvision

// SPDX-License-Identifier: Apache-2.0
#include "ops/ps_roi_align/ps_roi_align.h"

#include <cmath>

#include "simd/f64-inl.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// weight * down, but 0 where the weight is: 0 times an infinite pixel would be NaN.
template <class T>
inline Vec<T> across(const T* weight, Vec<T> down) {
  const Vec<T> w = Vec<T>::load(weight);
  return select(w == Vec<T>::zero(), Vec<T>::zero(), w * down);
}

// Down the rows first, whatever the columns between taps hold: those are left out at the end.
template <class T>
void sum_plane(const RoiAxis<T>& y, const RoiSpans<T>& x, int64_t begin, int64_t end, const T* plane,
               int64_t width, T* sums) {
  constexpr int64_t kLanes = Vec<T>::kLanes;
  const int lanes = static_cast<int>(width < kLanes ? width : kLanes);
  for (int64_t k = begin; k < end; ++k) {
    Vec<T> sum = Vec<T>::zero();
    for (int64_t span = x.first[k]; span < x.first[k + 1]; ++span) {
      const T* const column = plane + x.column[span];
      Vec<T> down = Vec<T>::zero();
      for (int64_t i = y.first[k]; i < y.first[k + 1]; ++i)
        down = fma(Vec<T>::set(y.weight[i]), Vec<T>::load_n(column + y.index[i] * width, lanes), down);
      sum = sum + across(x.weight + span * kLanes, down);
    }
    sums[k] = reduce_add(sum);
  }
}

template <class T>
inline T mul_add(T a, T b, T c) {
  if constexpr (F32::kLanes > 1) return std::fma(a, b, c);
  return a * b + c;  // no FMA in the baseline
}

// The four pixels of a row that a bin reads, output after output. A bin's outputs are no neighbours: to
// gather them into vectors takes longer than to sum one after the other.
template <class T, class Pixel>
struct FourPixels {
  Pixel *p0, *p1, *p2, *p3;
  T w0, w1, w2, w3;

  template <class Sum>
  FourPixels(const OwnTap<T, Sum>& tap, int64_t r, Pixel* row)
      : p0(row + tap.x->at[0] + tap.bin),
        p1(row + tap.x->at[1] + tap.bin),
        p2(row + tap.x->at[2] + tap.bin),
        p3(row + tap.x->at[3] + tap.bin),
        w0(tap.weight[r] * tap.x->weight[0]),
        w1(tap.weight[r] * tap.x->weight[1]),
        w2(tap.weight[r] * tap.x->weight[2]),
        w3(tap.weight[r] * tap.x->weight[3]) {}

  T sum(int64_t at) const { return mul_add(w1, p1[at], w0 * p0[at]) + mul_add(w3, p3[at], w2 * p2[at]); }
  void add(T grad) const {  // one by one: two may be the same
    *p0 = mul_add(w0, grad, *p0);
    *p1 = mul_add(w1, grad, *p1);
    *p2 = mul_add(w2, grad, *p2);
    *p3 = mul_add(w3, grad, *p3);
  }
  // The compiler would rather have one index for all four; but a product with memory whose address is two
  // registers is two instructions to the CPU.
  void advance(int64_t by) {
    p0 += by, p1 += by, p2 += by, p3 += by;
    asm("" : "+r"(p0), "+r"(p1), "+r"(p2), "+r"(p3));
  }
};

template <class T>
void sum_taps(const OwnRow& shape, const OwnTap<T, T>* taps, int64_t count, int64_t r, const T* row) {
  for (const OwnTap<T, T>* tap = taps; tap < taps + count; ++tap) {
    FourPixels<T, const T> pixels(*tap, r, row);
    T* const sums = tap->sums + shape.first;
    int64_t o = 0;
    for (; o + 2 <= shape.outputs; o += 2) {
      sums[o] += pixels.sum(0);
      sums[o + 1] += pixels.sum(shape.bins);
      pixels.advance(2 * shape.bins);
    }
    if (o < shape.outputs) sums[o] += pixels.sum(0);
  }
}

template <class T>
void add_taps(const OwnRow& shape, const OwnTap<T, const T>* taps, int64_t count, int64_t r, T* row) {
  for (const OwnTap<T, const T>* tap = taps; tap < taps + count; ++tap) {
    FourPixels<T, T> pixels(*tap, r, row);
    const T* const grads = tap->sums + shape.first;
    for (int64_t o = 0; o < shape.outputs; ++o) {
      pixels.add(grads[o]);
      pixels.advance(shape.bins);
    }
  }
}

template <class T>
constexpr OwnChannelKernels<T> kOwnChannels = {sum_plane<T>, sum_taps<T>, add_taps<T>, Vec<T>::kLanes};

const PsRoiAlignKernels ps_roi_align = {F32::kIsaName, kOwnChannels<float>, kOwnChannels<double>};

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
#include "ops/brisk/brisk.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// The sum over a square whose sides lie between pixels is that of nine boxes: its corners and edges, which
// count in part, and its inside. Their sums are whole numbers; and products are rounded one by one, so that
// every ISA gives the same bits.
inline void smooth(const IntegralImage& image, const BriskPattern& pattern, const BriskPlace& place,
                   float* values) {
  constexpr int kSides = 4;                    // rows and columns of the integral image that bound the boxes
  alignas(64) int32_t at[2][2][kBriskPadded];  // of columns and rows the first, of the near and the far side
  alignas(64) float part[2][2][kBriskPadded];  // how far behind it the side lies
  alignas(64) float side[kBriskPadded];
  const F32 c = F32::set(place.cosine), s = F32::set(place.sine), t = F32::set(place.t),
            half = F32::set(0.5f);
  const F32 x = F32::set(place.x + 0.5f), y = F32::set(place.y + 0.5f);
  for (int i = 0; i < kBriskPadded; i += F32::kLanes) {
    const F32 u = F32::load(pattern.x + i) * t, v = F32::load(pattern.y + i) * t;
    const F32 radius = max(F32::load(pattern.half + i) * t, half);
    const F32 middle[2] = {x + (u * c - v * s), y + (u * s + v * c)};
    (radius + radius).store(side + i);
    for (int axis = 0; axis < 2; ++axis) {
      const F32 ends[2] = {middle[axis] - radius, middle[axis] + radius};
      for (int end = 0; end < 2; ++end) {
        const F32 first = floor(ends[end]);
        to_i32(first).store(at[axis][end] + i);
        (ends[end] - first).store(part[axis][end] + i);
      }
    }
  }
  alignas(64) int32_t sums[kSides][kSides][kBriskPadded];
  for (int i = 0; i < kBriskPadded; ++i) {
    const int32_t left = at[0][0][i], right = at[0][1][i];
    const int32_t* const rows[kSides] = {image.row(at[1][0][i]), image.row(at[1][0][i] + 1),
                                         image.row(at[1][1][i]), image.row(at[1][1][i] + 1)};
    for (int r = 0; r < kSides; ++r) {
      sums[r][0][i] = rows[r][left];
      sums[r][1][i] = rows[r][left + 1];
      sums[r][2][i] = rows[r][right];
      sums[r][3][i] = rows[r][right + 1];
    }
  }
  const F32 one = F32::set(1.0f);
  for (int i = 0; i < kBriskPadded; i += F32::kLanes) {
    const auto weight = [&](int axis, int box, F32 value) {
      if (box == 1) return value;
      const F32 behind = F32::load(part[axis][box / 2] + i);
      return value * (box == 0 ? one - behind : behind);
    };
    F32 total = F32::zero();
    for (int r = 0; r + 1 < kSides; ++r) {
      I32 strips[kSides];
      for (int k = 0; k < kSides; ++k) strips[k] = I32::load(sums[r + 1][k] + i) - I32::load(sums[r][k] + i);
      F32 row = F32::zero();
      for (int k = 0; k + 1 < kSides; ++k) row = row + weight(0, k, to_f32(strips[k + 1] - strips[k]));
      total = total + weight(1, r, row);
    }
    const F32 width = F32::load(side + i);
    (total / (width * width)).store(values + i);
  }
}

const BriskKernels brisk = {F32::kIsaName, smooth};

}  // namespace pyvision::PYVISION_ISA_NS

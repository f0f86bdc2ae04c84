// SPDX-License-Identifier: Apache-2.0
#include "ops/orb/orb.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Rows of eight, of which the last counts for nothing: a loop over a power of two becomes vectors.
constexpr int kHarrisBlock = 7, kHarrisPitch = 8;

inline float harris(const uint8_t* pixel, int64_t stride) {
  int16_t dx[kHarrisBlock * kHarrisPitch], dy[kHarrisBlock * kHarrisPitch];
  for (int i = 0; i < kHarrisBlock; ++i) {
    const uint8_t* const p = pixel + (i - kHarrisBlock / 2) * stride - kHarrisBlock / 2;
    const uint8_t *above = p - stride, *below = p + stride;
    int16_t *x = dx + i * kHarrisPitch, *y = dy + i * kHarrisPitch;
    for (int j = 0; j < kHarrisPitch; ++j) {
      x[j] = static_cast<int16_t>(2 * (p[j + 1] - p[j - 1]) + (above[j + 1] - above[j - 1]) +
                                  (below[j + 1] - below[j - 1]));
      y[j] = static_cast<int16_t>(2 * (below[j] - above[j]) + (below[j - 1] - above[j - 1]) +
                                  (below[j + 1] - above[j + 1]));
    }
    x[kHarrisBlock] = y[kHarrisBlock] = 0;
  }
  int32_t xx = 0, yy = 0, xy = 0;
  for (int i = 0; i < kHarrisBlock * kHarrisPitch; ++i) {
    xx += dx[i] * dx[i];
    yy += dy[i] * dy[i];
    xy += dx[i] * dy[i];
  }
  constexpr float kScale = 1.0f / (4 * kHarrisBlock * 255.0f), kHarris = 0.04f;
  const auto a = static_cast<float>(xx), b = static_cast<float>(yy), c = static_cast<float>(xy);
  return (a * b - c * c - kHarris * (a + b) * (a + b)) * (kScale * kScale * kScale * kScale);
}

// The half width of each row of the disc: round(sqrt(15^2 - y^2)), made symmetric about the diagonal.
constexpr int kDiscRadius = 15, kDiscPitch = 32;
constexpr int kHalfWidth[kDiscRadius + 1] = {15, 15, 15, 15, 14, 14, 14, 13, 13, 12, 11, 10, 9, 8, 6, 3};

struct Disc {
  int16_t inside[kDiscRadius + 1][kDiscPitch], x[kDiscRadius + 1][kDiscPitch];

  constexpr Disc() : inside(), x() {
    for (int row = 0; row <= kDiscRadius; ++row) {
      for (int i = 0; i < kDiscPitch; ++i) {
        const int column = i - kDiscRadius;
        const bool in = column >= -kHalfWidth[row] && column <= kHalfWidth[row];
        inside[row][i] = in ? 1 : 0;
        x[row][i] = static_cast<int16_t>(in ? column : 0);
      }
    }
  }
};
constexpr Disc kDisc;

inline void moments(const uint8_t* pixel, int64_t stride, int32_t* m10, int32_t* m01) {
  int32_t sum_x = 0, sum_y = 0;
  const uint8_t* const row = pixel - kDiscRadius;
  for (int i = 0; i < kDiscPitch; ++i) sum_x += kDisc.x[0][i] * row[i];
  for (int y = 1; y <= kDiscRadius; ++y) {
    const uint8_t *above = row - y * stride, *below = row + y * stride;
    int32_t difference = 0;
    for (int i = 0; i < kDiscPitch; ++i) {
      const auto both = static_cast<int16_t>(below[i] + above[i]),
                 down = static_cast<int16_t>(below[i] - above[i]);
      sum_x += kDisc.x[y][i] * both;
      difference += kDisc.inside[y][i] * down;
    }
    sum_y += y * difference;
  }
  *m10 = sum_x;
  *m01 = sum_y;
}

const OrbKernels orb = {F32::kIsaName, harris, moments};

}  // namespace pyvision::PYVISION_ISA_NS

// SPDX-License-Identifier: Apache-2.0
// Optical flow: where the pixels of a picture a went in a picture b, both f32 grey.
//
// horn_schunck: Jacobi steps towards the least
//     sum (ix (u - u0) + iy (v - v0) + it)^2 + alpha^2 (|grad u|^2 + |grad v|^2)
//   u <- mean(u) - ix r, v <- mean(v) - iy r
//   r = (ix (mean(u) - u0) + iy (mean(v) - v0) + it) / (alpha^2 + ix^2 + iy^2)
//   computed as  g (u, v) + rest, g = (ix, iy) / sqrt(alpha^2 + ix^2 + iy^2)
//   mean: neighbours beside weigh 1/6, diagonal ones 1/12; the border's pixels are repeated.
//   Horn and Schunck, "Determining optical flow", 1981.
//
// lucas_kanade: for each point the shift d for which the window around it in a is most alike that in b:
//     d <- d + G^-1 sum (a - b(d)) (ax, ay)    G = sum (ax, ay)' (ax, ay), gradients by Scharr's filter
//   Windows are sampled bilinearly, the pictures mirrored at their borders; of a, pixels outside do not
//   count. Bouguet, "Pyramidal implementation of the affine Lucas Kanade feature tracker", 2001.
#pragma once

#include <cstdint>

#include "core/dispatch.h"

namespace pyvision {

struct FlowTerms {
  const float *ix, *iy, *it, *u0, *v0;  // (h, w) each
  int64_t h, w;
  float alpha;
};

// A row of a field and its neighbours, readable for a vector before and behind; a pixel on either side
// counts.
constexpr int64_t kFlowMargin = 16;
struct FlowRows {
  const float *above, *row, *below;
};

// The square whose pixel [i, j] is sum_kl weights[2 k + l] pixels[(i + k) pitch + j + l]: sampled bilinearly.
struct TrackSquare {
  const float* pixels;
  int64_t pitch;
  float weights[4];
};

struct FlowKernels {
  const char* isa;
  // What steps need of the pixels [first, first + n): g along x and y, and (it - ix u0 - iy v0) / sqrt(...)
  void (*prepare)(const FlowTerms& terms, int64_t first, int64_t n, float* gx, float* gy, float* rest);
  // One step of n pixels of a row. gx, gy, rest: readable as far as whole vectors reach
  void (*step)(const FlowRows& u, const FlowRows& v, const float* gx, const float* gy, const float* rest,
               int64_t n, float* next_u, float* next_v);
  // y: (side, side)
  void (*sample)(const TrackSquare& x, int side, float* y);
  // Slopes by Scharr's filter of what lies within a pixel of the border. patch: (side + 2, side + 2),
  // gx, gy: (side, side)
  void (*slopes)(const float* patch, int side, float* gx, float* gy);
  // sum gx gx, gx gy, gy gy. gx, gy: (side, side)
  void (*moments)(const float* gx, const float* gy, int side, float* sums);
  // sum (a - x) gx, (a - x) gy. a, gx, gy: (side, side)
  void (*project)(const TrackSquare& x, const float* a, const float* gx, const float* gy, int side,
                  float* sums);
  // sum |a - x|. a: (side, side)
  float (*difference)(const TrackSquare& x, const float* a, int side);
};

PYVISION_KERNELS(FlowKernels, flow)

// Slopes ix, iy along x and y of a and of what b has where the flow (u, v) leads, the mean of both, by
//   (8 (x[1] - x[-1]) - (x[2] - x[-2])) / 12
// and the difference it; all 0 where the flow leaves the picture. All (h, w)
void flow_terms(const float* a, const float* b, const float* u, const float* v, int64_t h, int64_t w,
                float* ix, float* iy, float* it);

// u, v: (h, w), where to start and the result
void horn_schunck(const FlowTerms& terms, int iterations, float* u, float* v);

constexpr int kMaxTrackWindow = 63;  // a window and its gradients fit in L1 and L2

struct TrackParams {
  int window = 21;  // odd, [3, kMaxTrackWindow]
  int max_iterations = 30;
  float epsilon = 0.01f;         // pixels: a smaller step is the last
  float min_eigenvalue = 1e-4f;  // of G, per pixel, times 2^-10: OpenCV's scale
  bool finest = false;           // sets errors, and loses points for a small eigenvalue
};

struct TrackImage {
  const float* data;  // (h, w), dense
  int64_t h, w;
};

// points: (n, 2) x, y in a; shifted: (n, 2) in b, where to start and the result; found: (n,) those that are
// 0 are not looked at; errors: (n,) mean absolute difference
void lucas_kanade(const TrackImage& a, const TrackImage& b, const TrackParams& params, int64_t n,
                  const float* points, float* shifted, uint8_t* found, float* errors);

}  // namespace pyvision

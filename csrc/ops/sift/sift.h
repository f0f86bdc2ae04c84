// SPDX-License-Identifier: Apache-2.0
// sift: Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004, with OpenCV's
// constants.
//
//   base       the image at twice its size (bilinear, half-pixel centres), taken to have a blur of 1, blurred
//   to sigma octave     layers + 3 images, each 2^(1 / layers) times as blurred as the one before; the next
//   octave begins
//              with every second pixel of the image of twice the blur it began with
//   extrema    pixels of the differences of neighbouring images, 5 or more from the border, that are no less,
//   or no
//              more, than their 26 neighbours; moved to the extremum of the parabola through these, up to
//              five times
//   kept       where |D| layers >= contrast (D at the extremum, of grey in [0, 1]), and tr^2 / det of the
//   second
//              derivatives < (edge + 1)^2 / edge
//   angle      peaks of 36 smoothed bins of gradient directions within 4.5 times the scale, weighted by
//   magnitude and
//              a Gaussian of 1.5 times the scale; all that reach 0.8 of the highest, parabola between the
//              bins
//   descriptor 4 x 4 cells of 3 times the scale, 8 directions each, trilinear, weighted by a Gaussian of half
//   the
//              window; cut at 0.2 of the norm, times 512 over the norm, rounded to [0, 255]
//
// Positions are those of the given image: the centre of base pixel x lies at x / 2 - 1/4. Keypoints stand by
// falling response |D|, equal ones by octave, layer, row and column.
#pragma once

#include <cstdint>
#include <vector>

#include "core/dispatch.h"
#include "core/grey_image.h"
#include "ops/sift/params.h"

namespace pyvision {

// A descriptor's window in an image of the pyramid.
struct SiftWindow {
  const float* image;  // (h, w)
  int64_t h, w;
  int64_t x, y;         // the pixel nearest to the keypoint
  float cosine, sine;   // of the keypoint's angle, over the cells' width
  int64_t radius;       // of the square that holds the turned window
  float angle_in_bins;  // of 8
};

struct SiftKernels {
  const char* isa;
  // first[x] = taps[0] rows[r][x] + sum_i taps[i] (rows[r - i][x] + rows[r + i][x]), i in [1, r], and
  // second[x] the same one row below; rows: (2 r + 2,)
  void (*blur_columns)(const float* const* rows, const float* taps, int64_t radius, int64_t n, float* first,
                       float* second);
  // The same along a row; x: its first value, radius more before it and behind the last
  void (*blur_row)(const float* x, const float* taps, int64_t radius, int64_t n, float* y);
  void (*subtract)(const float* a, const float* b, int64_t n, float* y);
  // Columns in [first, last) whose |value| exceeds the threshold and is extreme among 26 neighbours, and how
  // many. rows: of three layers three each, above, at and below
  int64_t (*extrema)(const float* const rows[3][3], int64_t first, int64_t last, float threshold,
                     int32_t* columns);
  // magnitude and direction in degrees [0, 360) of the gradients at row[0 .. n), up being positive
  void (*gradients)(const float* above, const float* row, const float* below, int64_t n, float* magnitude,
                    float* degrees);
  // histogram: (4, 4, 8), before normalisation
  void (*describe)(const SiftWindow& window, float* histogram);
};

PYVISION_KERNELS(SiftKernels, sift)

// octave -1 is that of the doubled image
struct SiftKeypoint : Keypoint {
  int32_t layer;
};

// The octave's images, each more blurred than the one before.
struct SiftImages {
  int64_t h, w;
  float* data;  // (layers + 3, h, w)
};

struct SiftCandidates;

class SiftPyramid {
 public:
  // memory: floats_of(...) floats that outlive this.
  static int64_t floats_of(int64_t h, int64_t w, const SiftParams& params);
  // candidates: where to put the extrema found while the images are made, or nullptr
  SiftPyramid(const AnyImage& image, const SiftParams& params, float* memory,
              SiftCandidates* candidates = nullptr);

  const std::vector<SiftImages>& octaves() const { return octaves_; }
  // The images a keypoint of this size is looked up in; false where the pyramid has none that are so blurred,
  // or so sharp.
  bool locate(float size, const SiftParams& params, int32_t* octave, int32_t* layer) const;
  const float* layer(int64_t octave, int64_t layer) const {
    const SiftImages& images = octaves_[static_cast<size_t>(octave)];
    return images.data + layer * images.h * images.w;
  }

 private:
  std::vector<SiftImages> octaves_;
};

struct SiftDetection {
  SiftPyramid pyramid;
  std::vector<SiftKeypoint> keypoints;
};

// mask: where keypoints may lie; without data everywhere. memory: as of the pyramid
SiftDetection sift_detect(const AnyImage& image, const SiftParams& params, const PixelMask& mask,
                          float* memory);

// keypoints: (n,), finite, of octaves and layers that the pyramid has; descriptors: (n, 128)
void sift_describe(const SiftPyramid& pyramid, const SiftKeypoint* keypoints, int64_t n, float* descriptors);

}  // namespace pyvision

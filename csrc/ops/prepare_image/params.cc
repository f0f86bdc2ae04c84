// SPDX-License-Identifier: Apache-2.0
// What the arguments must fulfil, on whatever device it runs.
#include "ops/prepare_image/params.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace pyvision {

ImageView image_view(const char* op, const Tensor& x) {
  check(x.rank == 2 || (x.rank == 3 && (x.shape[2] == 3 || x.shape[2] == 4)), op,
        "expected image of shape (H, W), (H, W, 3) or (H, W, 4), got ", shape_text(x));
  check(x.shape[0] > 0 && x.shape[1] > 0, op, "expected image with pixels, got shape ", shape_text(x));
  const bool grey = x.rank == 2;
  return {x.as<const uint8_t>(),  x.shape[0], x.shape[1], grey ? 1 : x.shape[2], x.strides[0], x.strides[1],
          grey ? 0 : x.strides[2]};
}

PrepareImageParams prepare_image_params(const char* op, const std::array<int64_t, 2>& size,
                                        const std::array<int64_t, 4>& region,
                                        const std::array<float, 3>& mean, const std::array<float, 3>& stdev,
                                        bool bgr, float pad) {
  check(size[0] > 0 && size[1] > 0, op, "expected size to be positive, got (", size[0], ", ", size[1], ")");
  PrepareImageParams p;
  p.out_h = size[0];
  p.out_w = size[1];
  p.top = region[0];
  p.left = region[1];
  p.region_h = region[2];
  p.region_w = region[3];
  check(p.top >= 0 && p.left >= 0 && p.region_h > 0 && p.region_w > 0 && p.region_h <= p.out_h - p.top &&
            p.region_w <= p.out_w - p.left,
        op, "expected a region (top, left, height, width) inside out, got ", shape_text(region.data(), 4));
  for (int c = 0; c < 3; ++c)
    check(std::isfinite(mean[c]) && std::isfinite(stdev[c]) && stdev[c] != 0, op,
          "expected finite mean and finite std other than 0, got ", mean[c], " and ", stdev[c]);
  check(std::isfinite(pad), op, "expected a finite pad_value, got ", pad);
  std::copy(mean.begin(), mean.end(), p.mean);
  std::copy(stdev.begin(), stdev.end(), p.stdev);
  p.pad = pad;
  p.bgr = bgr;
  return p;
}

}  // namespace pyvision

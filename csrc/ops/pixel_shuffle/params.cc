// SPDX-License-Identifier: Apache-2.0
// What the factor must fulfil, on whatever device it runs.
#include "ops/pixel_shuffle/params.h"

#include <algorithm>

#include "core/check.h"

namespace pyvision {

PixelShuffle pixel_shuffle_params(const char* op, const std::array<int64_t, 4>& shape, int64_t factor,
                                  bool planar, bool to_fine) {
  check(factor >= 1 && factor < (int64_t{1} << 15), op, "expected a factor in [1, 2^15), got ", factor);
  const int64_t c = shape[planar ? 1 : 3], h = shape[planar ? 2 : 1], w = shape[planar ? 3 : 2];
  const int64_t area = factor * factor;
  PixelShuffle job = {shape[0], c, h, w, factor, planar};
  if (to_fine) {
    check(c % area == 0, op, "expected input with a multiple of upscale_factor^2 = ", area, " channels, got ",
          c);
    job.channels = c / area;
  } else {
    check(h % factor == 0 && w % factor == 0, op,
          "expected input of extents that are multiples of downscale_factor ", factor, ", got ", h, " x ", w);
    job.h = h / factor;
    job.w = w / factor;
  }
  // The result has as many elements as the input, but an empty one's extents may be beyond any integer.
  const int64_t longest = std::max({job.h, job.w, job.channels});
  check(longest < (int64_t{1} << 62) / area, op, "expected an output whose extents fit an integer, got ",
        job.h, " x ", job.w, " pixels of ", job.channels, " channels, factor ", factor);
  return job;
}

}  // namespace pyvision

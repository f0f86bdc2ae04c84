// SPDX-License-Identifier: Apache-2.0
// The threshold of a comparison in the boxes' own type. For files built for the baseline.
#pragma once

#include <cmath>

namespace pyvision {

// A float exceeds the threshold exactly when it exceeds the largest float that does not.
inline float nms_limit(float, double threshold) {
  const float limit = static_cast<float>(threshold);
  return limit > threshold ? std::nextafter(limit, -INFINITY) : limit;
}
inline double nms_limit(double, double threshold) { return threshold; }

}  // namespace pyvision

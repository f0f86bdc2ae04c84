// SPDX-License-Identifier: Apache-2.0
#include "ops/brief/brief.h"

#include <cmath>

namespace pyvision {

void brief(const GreyImage& blurred, const BriefPoint& point, const BriefTests& tests, uint8_t* descriptor) {
  const double radians = static_cast<double>(point.angle) * (3.14159265358979323846 / 180);
  brief_kernels().describe(blurred.row(point.y) + point.x, blurred.stride, tests.pattern, tests.tests,
                           static_cast<float>(std::cos(radians)), static_cast<float>(std::sin(radians)),
                           descriptor);
}

}  // namespace pyvision

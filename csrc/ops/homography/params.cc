// SPDX-License-Identifier: Apache-2.0
#include "ops/homography/params.h"

#include "core/check.h"

namespace pyvision {

void check_params(const RansacParams& p) {
  check(p.threshold > 0 && p.threshold <= kMostCoordinate, p.op(), "expected threshold in (0, 1e15], got ",
        p.threshold);
  check(p.max_iterations >= 1 && p.max_iterations <= kMostIterations, p.op(),
        "expected max_iterations in [1, ", kMostIterations, "], got ", p.max_iterations);
  check(p.confidence >= 0 && p.confidence < 1, p.op(), "expected confidence in [0, 1), got ", p.confidence);
}

}  // namespace pyvision

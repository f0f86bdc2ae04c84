// SPDX-License-Identifier: Apache-2.0
// The bins of prroi_pool.h along one axis.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/device.h"

namespace pyvision {

// A box along one axis, [begin, end], in double: the mean of a thin bin is a small difference's quotient.
struct IntegralAxis {
  double begin, end;
  int64_t bins, extent;

  struct Bin {
    double begin, end;
    double lower,
        upper;  // of its ends, the share that moves with the box's end; the rest moves with its begin
    int64_t first, last;  // pixels [first, last) count

    // Of a pixel in the mean.
    PYVISION_DEVICE double weight(int64_t pixel) const {
      const double at = static_cast<double>(pixel);
      return (hat_integral(end - at) - hat_integral(begin - at)) / (end - begin);
    }
    // Its derivatives by the box's ends.
    PYVISION_DEVICE double by_box_begin(int64_t pixel) const {
      return (1 - lower) * by_begin(pixel) + (1 - upper) * by_end(pixel);
    }
    PYVISION_DEVICE double by_box_end(int64_t pixel) const {
      return lower * by_begin(pixel) + upper * by_end(pixel);
    }

   private:
    PYVISION_DEVICE double by_begin(int64_t pixel) const {
      return (weight(pixel) - hat(begin - static_cast<double>(pixel))) / (end - begin);
    }
    PYVISION_DEVICE double by_end(int64_t pixel) const {
      return (hat(end - static_cast<double>(pixel)) - weight(pixel)) / (end - begin);
    }
  };

  PYVISION_DEVICE Bin bin(int64_t i) const {
    const double count = static_cast<double>(bins), size = (end - begin) / count;
    const double a = begin + static_cast<double>(i) * size, b = a + size;
    Bin bin = {a, b, static_cast<double>(i) / count, static_cast<double>(i + 1) / count, 0, 0};
    if (!(b > a) || b - a > 1.7976931348623157e308) return bin;  // empty, or not finite
    const double last = static_cast<double>(extent - 1);
    bin.first = static_cast<int64_t>(clamped(std::floor(a), last));
    bin.last = static_cast<int64_t>(clamped(std::ceil(b), last)) + 1;
    return bin;
  }

 private:
  PYVISION_DEVICE static double hat(double x) { return std::abs(x) < 1 ? 1 - std::abs(x) : 0; }
  // Its integral from -infinity to x.
  PYVISION_DEVICE static double hat_integral(double x) {
    const double t = x < -1 ? -1 : x > 1 ? 1 : x;
    return t < 0 ? (t + 1) * (t + 1) / 2 : 1 - (1 - t) * (1 - t) / 2;
  }
  PYVISION_DEVICE static double clamped(double x, double most) { return x < 0 ? 0 : x > most ? most : x; }
};

}  // namespace pyvision

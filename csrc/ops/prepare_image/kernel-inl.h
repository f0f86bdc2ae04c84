// SPDX-License-Identifier: Apache-2.0
#include "ops/prepare_image/prepare_image.h"

namespace pyvision::PYVISION_ISA_NS {

inline void prepare_image_row(const uint8_t* const taps[4], const float* wx, float wy, const float* mean,
                              const float* stdev, float* y, int64_t n) {
  const F32 weight_y = F32::set(wy);
  const auto value = [=](auto load_u8, auto load, int64_t i) {
    const F32 up_left = load_u8(taps[0] + i), up_right = load_u8(taps[1] + i);
    const F32 left = fma(weight_y, load_u8(taps[2] + i) - up_left, up_left);
    const F32 right = fma(weight_y, load_u8(taps[3] + i) - up_right, up_right);
    return (fma(load(wx + i), right - left, left) - load(mean + i)) / load(stdev + i);
  };
  int64_t i = 0;
  for (; i + F32::kLanes <= n; i += F32::kLanes) value(F32::load_u8, F32::load, i).store(y + i);
  if (i < n) {
    const int lanes = static_cast<int>(n - i);
    value([=](const uint8_t* p) { return F32::load_u8_n(p, lanes); },
          [=](const float* p) { return F32::load_n(p, lanes); }, i)
        .store_n(y + i, lanes);
  }
}

const PrepareImageKernels prepare_image = {F32::kIsaName, prepare_image_row};

}  // namespace pyvision::PYVISION_ISA_NS

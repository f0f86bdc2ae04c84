// SPDX-License-Identifier: Apache-2.0
#include "ops/brief/brief.h"
#include "simd/lanes-inl.h"

namespace pyvision::PYVISION_ISA_NS {

// Where the rotated points lie, in bytes from the center. px, py: (n,), offsets: (n,)
inline void rotated_offsets(const float* px, const float* py, int64_t n, float cosine, float sine,
                            int32_t stride, int32_t* offsets) {
  int32_t rows[kBriefMaxTests];
  const F32 c = F32::set(cosine), s = F32::set(sine);
  for_each_vector<float>(n, [&](int64_t i, int lanes) {
    const F32 x = load_lanes(px + i, lanes), y = load_lanes(py + i, lanes);
    // Products and sums rounded one by one, as everywhere: an angle gives the same pixels on any machine.
    to_i32(round(x * c - y * s)).store(offsets + i);
    to_i32(round(x * s + y * c)).store(rows + i);
  });
  for (int64_t i = 0; i < n; ++i) offsets[i] += rows[i] * stride;
}

inline void describe(const uint8_t* center, int64_t stride, const float* pattern, int64_t tests, float cosine,
                     float sine, uint8_t* descriptor) {
  int32_t a[kBriefMaxTests], b[kBriefMaxTests];
  const auto step = static_cast<int32_t>(stride);
  rotated_offsets(pattern, pattern + tests, tests, cosine, sine, step, a);
  rotated_offsets(pattern + 2 * tests, pattern + 3 * tests, tests, cosine, sine, step, b);
  for (int64_t byte = 0; byte < tests / 8; ++byte) {
    uint32_t bits = 0;
    for (int i = 0; i < 8; ++i) {
      const int64_t test = 8 * byte + i;
      bits |= static_cast<uint32_t>(center[a[test]] < center[b[test]]) << i;
    }
    descriptor[byte] = static_cast<uint8_t>(bits);
  }
}

const BriefKernels brief = {F32::kIsaName, describe};

}  // namespace pyvision::PYVISION_ISA_NS

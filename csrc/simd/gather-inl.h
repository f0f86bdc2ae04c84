// SPDX-License-Identifier: Apache-2.0
// Look-ups in tables. Include after one of scalar.h, avx2.h, avx512.h.
#pragma once

#include <cstdint>

namespace pyvision::PYVISION_ISA_NS {

// Lane l is table[index[l]].
#if defined(__AVX512F__)
inline I32 gather(const int32_t* table, I32 index) { return {_mm512_i32gather_epi32(index.v, table, 4)}; }
#elif defined(__AVX2__)
inline I32 gather(const int32_t* table, I32 index) { return {_mm256_i32gather_epi32(table, index.v, 4)}; }
#else
inline I32 gather(const int32_t* table, I32 index) { return {table[index.v]}; }
#endif

}  // namespace pyvision::PYVISION_ISA_NS

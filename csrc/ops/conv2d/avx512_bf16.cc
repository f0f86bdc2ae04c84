// SPDX-License-Identifier: Apache-2.0
#define PYVISION_ISA_NS avx512_bf16
#include "simd/avx512.h"
//
#include "ops/conv2d/bf16-inl.h"

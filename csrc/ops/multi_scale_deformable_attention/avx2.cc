// SPDX-License-Identifier: Apache-2.0
#include "simd/avx2.h"
//
#include "ops/multi_scale_deformable_attention/kernel-inl.h"

// SPDX-License-Identifier: Apache-2.0
#include "simd/avx512.h"
//
#include "ops/roi_pool/kernel-inl.h"

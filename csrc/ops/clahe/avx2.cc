// SPDX-License-Identifier: Apache-2.0
#include "simd/avx2.h"
//
#include "ops/clahe/kernel-inl.h"

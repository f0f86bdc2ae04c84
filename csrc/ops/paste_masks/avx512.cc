// SPDX-License-Identifier: Apache-2.0
#include "simd/avx512.h"
//
#include "ops/paste_masks/kernel-inl.h"

// SPDX-License-Identifier: Apache-2.0
#include "simd/scalar.h"
//
#include "ops/roi_align_rotated/kernel-inl.h"

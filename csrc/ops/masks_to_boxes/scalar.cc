// SPDX-License-Identifier: Apache-2.0
#include "simd/scalar.h"
//
#include "ops/masks_to_boxes/kernel-inl.h"

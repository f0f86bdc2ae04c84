// SPDX-License-Identifier: Apache-2.0
#include "simd/scalar.h"
//
#include "ops/paste_masks/kernel-inl.h"

// SPDX-License-Identifier: Apache-2.0
#include "simd/scalar.h"
//
#include "ops/roi_pool/kernel-inl.h"

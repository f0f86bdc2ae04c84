// SPDX-License-Identifier: Apache-2.0
#include "simd/scalar.h"
//
#include "ops/soft_nms/kernel-inl.h"

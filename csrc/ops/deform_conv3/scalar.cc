// SPDX-License-Identifier: Apache-2.0
#include "simd/scalar.h"
//
#include "ops/deform_conv3/kernel-inl.h"

// SPDX-License-Identifier: Apache-2.0
#include "simd/scalar.h"
//
#include "ops/flow/kernel-inl.h"

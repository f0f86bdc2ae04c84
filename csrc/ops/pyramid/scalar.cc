// SPDX-License-Identifier: Apache-2.0
#include "simd/scalar.h"
//
#include "ops/pyramid/kernel-inl.h"

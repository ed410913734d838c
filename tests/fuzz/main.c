/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libFuzzer's entry: which target it is comes from the compiler's command
 * line (FUZZ_TARGET).
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return FUZZ_TARGET(data, size);
}

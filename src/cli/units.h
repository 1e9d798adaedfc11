/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with units, as people and clients write them on a command line. */
#pragma once

#include <stdint.h>

/* "64000000", "50m", "50MB", "1GiB": bytes, powers of 1024. 0 or -EINVAL. */
int units_bytes(const char *text, int64_t *ret);
/* "100ms", "5s", "1m30s", or a number of seconds: milliseconds. 0 or -EINVAL. */
int units_milliseconds(const char *text, uint64_t *ret);

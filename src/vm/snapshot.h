/* SPDX-License-Identifier: Apache-2.0 */
/* What writing and reading a snapshot agree on. Private to the layer. */
#pragma once

#include <stdint.h>

/* Of the names in the state's tree and their meaning; a reader refuses newer ones. */
#define SNAPSHOT_VERSION 1

#if defined(__x86_64__)
#define SNAPSHOT_ARCHITECTURE "x86_64"
#elif defined(__aarch64__)
#define SNAPSHOT_ARCHITECTURE "aarch64"
#else
#error "no machine for this architecture"
#endif

/* Nanoseconds since 1970. */
uint64_t snapshot_wall_time(void);

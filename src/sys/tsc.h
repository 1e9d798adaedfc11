/* SPDX-License-Identifier: Apache-2.0 */
/* The time stamp counter of x86 processors (Intel SDM volume 3, "Time-Stamp Counter"). */
#pragma once

#include <stdint.h>

/*
 * Measure how fast this host's TSC counts, in kHz, to better than one in a thousand. Takes 2 ms. 0: not an x86 host, or
 * the host kept us from measuring.
 */
uint32_t tsc_measure_khz(void);

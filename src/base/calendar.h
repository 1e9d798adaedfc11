/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of day in UTC. gmtime_r(3) and timegm(3) do the same, but link the C library's time zones into a static
 * program, and with them scanf and all its numbers: an eighth of a MiB.
 */
#pragma once

#include <stdint.h>
#include <time.h>

/* Years of at most ±1,000,000. Sets tm_sec to tm_year and tm_wday; the rest is zero. */
void calendar_utc(int64_t unix_s, struct tm *ret);
/* The reverse. Fields that are out of range count on: the 32nd of January is the 1st of February. */
int64_t calendar_seconds(const struct tm *tm);

#define CALENDAR_STAMP_MAX 32
/* "2026-11-26T14:23:05" */
void calendar_stamp(int64_t unix_s, char ret[CALENDAR_STAMP_MAX]);

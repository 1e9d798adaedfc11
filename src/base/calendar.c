/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Gregorian calendar, as if it had always been. A year begins with March here, so that the leap day is its last and
 * the lengths of the months before a day follow one line; 400 years, an era, have always the same number of days.
 */
#include "base/calendar.h"

#include <stdio.h>

#define DAY      86400
#define ERA_DAYS 146097
#define EPOCH    719468 /* days from March 1st of the year 0 to January 1st 1970 */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

void calendar_utc(int64_t unix_s, struct tm *ret)
{
	int64_t days = floor_div(unix_s, DAY), s = unix_s - days * DAY, era = floor_div(days + EPOCH, ERA_DAYS),
		day = days + EPOCH - era * ERA_DAYS,                                         /* of the era */
		year = (day - day / 1460 + day / 36524 - day / (ERA_DAYS - 1)) / 365, month; /* 0: March */

	day -= year * 365 + year / 4 - year / 100; /* of the year */
	month = (5 * day + 2) / 153;
	*ret = (struct tm){
		.tm_sec = (int)(s % 60),
		.tm_min = (int)(s / 60 % 60),
		.tm_hour = (int)(s / 3600),
		.tm_mday = (int)(day - (153 * month + 2) / 5 + 1),
		.tm_mon = (int)(month < 10 ? month + 2 : month - 10),
		.tm_year = (int)(era * 400 + year + (month >= 10) - 1900),
		.tm_wday = (int)(((days + 4) % 7 + 7) % 7), /* it began on a Thursday */
	};
}

int64_t calendar_seconds(const struct tm *tm)
{
	int64_t months = (int64_t)tm->tm_year * 12 + tm->tm_mon + 1900LL * 12 - 2, /* since March of the year 0 */
		year = floor_div(months, 12), month = months - year * 12, era = floor_div(year, 400),
		of_era = year - era * 400,
		days = era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 - EPOCH;

	return (days + tm->tm_mday - 1) * DAY + (int64_t)tm->tm_hour * 3600 + (int64_t)tm->tm_min * 60 + tm->tm_sec;
}

void calendar_stamp(int64_t unix_s, char ret[CALENDAR_STAMP_MAX])
{
	struct tm tm;

	calendar_utc(unix_s, &tm);
	snprintf(ret, CALENDAR_STAMP_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
		 tm.tm_hour, tm.tm_min, tm.tm_sec);
}

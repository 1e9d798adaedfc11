/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floating point numbers as messages show them. Nobody calculates with one: no request takes any, so that they stay
 * decimal text, and the C library's conversions need not be linked.
 */
#pragma once

#include <stddef.h>

#define NUMBER_TEXT_MAX 32

/*
 * A JSON number without superfluous digits, at most 17 of them, which tell every double apart: "1.5", "100.0", "1e30",
 * always with a point or an exponent. -ERANGE: it is too large for a double.
 */
int number_text(const char *json, size_t len, char ret[NUMBER_TEXT_MAX]);

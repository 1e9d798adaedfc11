/* SPDX-License-Identifier: Apache-2.0 */
/* Floating point numbers as text: the shortest that reads back as the same number. */
#pragma once

#define NUMBER_TEXT_MAX 32

/* "1.5", "100.0", "1e30": always with a point or an exponent. f is finite. */
void number_text(double f, char ret[NUMBER_TEXT_MAX]);

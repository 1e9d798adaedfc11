/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The newest output of a container, for `caisson logs`: two files of at most OUTPUT_LOG_HALF bytes each, the newer one
 * under OUTPUT_LOG_NAME, the older with ".1" behind. It is a convenience: when it cannot be written, the container runs
 * on and the log has a gap.
 */
#pragma once

#include <stddef.h>

#define OUTPUT_LOG_NAME "output.log"
#define OUTPUT_LOG_HALF (512u << 10)

struct output_log;

/* In dir. NULL when it cannot be made. */
struct output_log *output_log_new(const char *dir);
void output_log_write(struct output_log *log, const void *data, size_t n);
/* NULL does nothing. */
void output_log_free(struct output_log *log);

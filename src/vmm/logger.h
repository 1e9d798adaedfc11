/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines as clients of the API expect them, to a file, a FIFO, or stdout:
 *
 *     2023-06-16T07:45:41.767987318 [anonymous-instance:main:INFO:server.c:120] message
 *
 * A line that cannot be written at once (a FIFO nobody reads) is lost and counted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vmm/resources.h"

enum logger_level { LOGGER_OFF, LOGGER_ERROR, LOGGER_WARN, LOGGER_INFO, LOGGER_DEBUG, LOGGER_TRACE };

struct logger {
	const char *id; /* of the microVM */
	int fd;         /* own file, or -1: stdout */
	enum logger_level level;
	bool show_level, show_origin;
	char *module; /* only lines of modules with this prefix; NULL: all */
	uint64_t missed;
};

/* Info to stdout. id stays the caller's. */
void logger_init(struct logger *l, const char *id);
void logger_fini(struct logger *l);

/* Change what `with` has; a level that is not given is Info again. On failure nothing has changed. */
int logger_update(struct logger *l, const struct logger_body *with, struct err *e);

/* "Warning" → LOGGER_WARN, in any case of letters. 0 or -EINVAL. */
int logger_level_parse(const char *name, enum logger_level *ret);

void logger_write(struct logger *l, enum logger_level level, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

#define say(l, level, ...) logger_write((l), (level), __FILE__, __LINE__, __VA_ARGS__)

/* Open for writing as logs and metrics are: made if need be, appended to, never waiting. Descriptor or -errno. */
int logger_open(const char *path);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line per event to stderr or a chosen descriptor, as text or JSON. The level and the sink are the only
 * mutable globals of the code base; set them before threads start. Lines are written with one write(2) each.
 */
#pragma once

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Parse trace|debug|info|warn|warning|error|critical. Returns 0, or -EINVAL. */
int log_level_parse(const char *name, enum log_level *ret_level);

/* fd: where lines go (not owned). name: program name in front of text lines, in "source" of JSON ones. */
void log_set_sink(int fd, enum log_format format, const char *name);
/* Where they go. */
int log_get_fd(void);
/* Errors are told here, too, as text, for when the sink is a file that nobody looks at. -1: no. */
void log_set_error_copy(int fd);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * For what a stranger can make happen again and again: only the first few are logged. count: an unsigned that begins at
 * 0 and belongs to what is spoken of. fmt: a literal.
 */
#define LOG_FEW 4
#define log_warn_few(count, fmt, ...)                                                                                  \
	do {                                                                                                           \
		if (*(count) < LOG_FEW)                                                                                \
			log_warn(fmt "%s", __VA_ARGS__,                                                                \
				 ++*(count) == LOG_FEW ? " (not logged any more from here)" : "");                     \
	} while (0)

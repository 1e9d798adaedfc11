/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/logger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/calendar.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/probe.h"

#define LINE_LONGEST 8192 /* bytes; longer lines are cut */

static const char *const level_names[] = {
	[LOGGER_OFF] = "OFF",   [LOGGER_ERROR] = "ERROR", [LOGGER_WARN] = "WARN",
	[LOGGER_INFO] = "INFO", [LOGGER_DEBUG] = "DEBUG", [LOGGER_TRACE] = "TRACE",
};

int logger_level_parse(const char *name, enum logger_level *ret)
{
	if (!strcasecmp(name, "warning"))
		name = "warn";
	for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++)
		if (!strcasecmp(name, level_names[i])) {
			*ret = (enum logger_level)i;
			return 0;
		}
	return -EINVAL;
}

/* The library of the VM logs by itself: its lines go the same way. */
static void tell_library(const struct logger *l)
{
	log_set_level(l->level >= LOGGER_DEBUG  ? LOG_LEVEL_DEBUG
		      : l->level == LOGGER_INFO ? LOG_LEVEL_INFO
		      : l->level == LOGGER_WARN ? LOG_LEVEL_WARN
						: LOG_LEVEL_ERROR);
	log_set_sink(l->fd >= 0 ? l->fd : STDERR_FILENO, LOG_FORMAT_TEXT, "caisson-vmm");
}

void logger_init(struct logger *l, const char *id)
{
	*l = (struct logger){ .id = id, .fd = -1, .level = LOGGER_INFO };
	tell_library(l);
}

void logger_fini(struct logger *l)
{
	log_set_sink(STDERR_FILENO, LOG_FORMAT_TEXT, "caisson-vmm");
	fd_close(&l->fd);
	free(take_ptr(l->module));
}

int logger_open(const char *path)
{
	/* Reading too: then a FIFO without a reader can be opened. */
	int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0644);

	return fd < 0 ? -errno : fd;
}

int logger_update(struct logger *l, const struct logger_body *with, struct err *e)
{
	char *module = with->module ? strdup(with->module) : NULL;
	char text[OS_ERROR_MAX];
	int fd = -1;

	if (with->module && !module)
		return err_sys(e, ENOMEM, "cannot configure the logger");
	if (with->log_path) {
		fd = logger_open(with->log_path);
		if (fd < 0) {
			free(module);
			return err_set(e, ERR_CONFIG, -fd, "Failed to open target file: %s", os_error(-fd, text));
		}
		fd_close(&l->fd);
		l->fd = fd;
	}
	l->level = LOGGER_INFO;
	if (with->level)
		logger_level_parse(with->level, &l->level);
	if (with->has_show_level)
		l->show_level = with->show_level;
	if (with->has_show_log_origin)
		l->show_origin = with->show_log_origin;
	if (module) {
		free(l->module);
		l->module = module;
	}
	tell_library(l);
	return 0;
}

void logger_write(struct logger *l, enum logger_level level, const char *file, int line, const char *fmt, ...)
{
	char text[LINE_LONGEST], origin[256] = "", stamp[CALENDAR_STAMP_MAX];
	struct timespec now;
	size_t n;
	va_list ap;

	/* Every line of ours comes from the module of this name. */
	if (level > l->level || (l->module && strncmp("vmm", l->module, strlen(l->module))))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	calendar_stamp(now.tv_sec, stamp);
	if (l->show_origin)
		snprintf(origin, sizeof origin, ":%s:%d", file, line);
	n = (size_t)snprintf(text, sizeof text, "%s.%09ld [%s:main%s%s%s] ", stamp, now.tv_nsec, l->id,
			     l->show_level ? ":" : "", l->show_level ? level_names[level] : "", origin);
	va_start(ap, fmt);
	n += (size_t)vsnprintf(text + n, sizeof text - n, fmt, ap);
	va_end(ap);
	if (n > sizeof text - 2)
		n = sizeof text - 2;
	text[n++] = '\n';
	if (write(l->fd >= 0 ? l->fd : STDOUT_FILENO, text, n) != (ssize_t)n)
		l->missed++;
}

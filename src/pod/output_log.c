/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/output_log.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"

struct output_log {
	char path[PATH_MAX], older[PATH_MAX + 2];
	int fd;
	size_t written;
};

static int open_new(struct output_log *log)
{
	log->written = 0;
	log->fd = open(log->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	return log->fd;
}

struct output_log *output_log_new(const char *dir)
{
	struct output_log *log = calloc(1, sizeof *log);

	if (!log)
		return NULL;
	snprintf(log->path, sizeof log->path, "%s/" OUTPUT_LOG_NAME, dir);
	snprintf(log->older, sizeof log->older, "%s.1", log->path);
	if (open_new(log) < 0) {
		free(log);
		return NULL;
	}
	return log;
}

void output_log_write(struct output_log *log, const void *data, size_t n)
{
	const char *p = data;

	while (log && log->fd >= 0 && n) {
		size_t room = OUTPUT_LOG_HALF - log->written, part = n < room ? n : room;

		if (part == 0) {
			fd_close(&log->fd);
			if (rename(log->path, log->older) < 0 || open_new(log) < 0)
				return;
			continue;
		}
		if (fd_write_full(log->fd, p, part) < 0) {
			fd_close(&log->fd);
			return;
		}
		log->written += part;
		p += part;
		n -= part;
	}
}

void output_log_free(struct output_log *log)
{
	if (!log)
		return;
	fd_close(&log->fd);
	free(log);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/calendar.h"

static struct {
	enum log_level level;
	enum log_format format;
	int fd, error_copy_fd;
	const char *name;
} sink = { .level = LOG_LEVEL_WARN, .fd = STDERR_FILENO, .error_copy_fd = -1, .name = "caisson" };

static const char *const level_names[] = { "error", "warning", "info", "debug" };

void log_set_level(enum log_level level)
{
	sink.level = level;
}

enum log_level log_get_level(void)
{
	return sink.level;
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
	static const struct {
		const char *name;
		enum log_level level;
	} table[] = {
		{ "trace", LOG_LEVEL_DEBUG }, { "debug", LOG_LEVEL_DEBUG },    { "info", LOG_LEVEL_INFO },
		{ "warn", LOG_LEVEL_WARN },   { "warning", LOG_LEVEL_WARN },   { "error", LOG_LEVEL_ERROR },
		{ "fatal", LOG_LEVEL_ERROR }, { "critical", LOG_LEVEL_ERROR },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (!strcmp(name, table[i].name)) {
			*ret_level = table[i].level;
			return 0;
		}
	return -EINVAL;
}

void log_set_sink(int fd, enum log_format format, const char *name)
{
	sink.fd = fd;
	sink.format = format;
	sink.name = name;
}

int log_get_fd(void)
{
	return sink.fd;
}

void log_set_error_copy(int fd)
{
	sink.error_copy_fd = fd;
}

/* JSON string body: quotes, backslashes and control characters escaped (RFC 8259 §7). Returns the length written. */
static size_t escape_json(char *out, size_t size, const char *in)
{
	size_t n = 0;

	for (; *in && n + 7 < size; in++) {
		unsigned char c = (unsigned char)*in;

		if (c == '"' || c == '\\') {
			out[n++] = '\\';
			out[n++] = (char)c;
		} else if (c < 0x20) {
			n += (size_t)snprintf(out + n, size - n, "\\u%04x", c);
		} else {
			out[n++] = (char)c;
		}
	}
	out[n] = '\0';
	return n;
}

/* A line of text. Returns its length, which may be more than fits, as snprintf(3) does. */
static int text_line(char *line, size_t size, enum log_level level, const char *text)
{
	return snprintf(line, size, "%s: %s%s%s\n", sink.name, level == LOG_LEVEL_INFO ? "" : level_names[level],
			level == LOG_LEVEL_INFO ? "" : ": ", text);
}

static int json_line(char *line, size_t size, enum log_level level, const char *text)
{
	char escaped[3072], stamp[CALENDAR_STAMP_MAX];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	calendar_stamp(now.tv_sec, stamp);
	escape_json(escaped, sizeof escaped, text);
	return snprintf(line, size, "{\"time\":\"%s.%06ldZ\",\"level\":\"%s\",\"source\":\"%s\",\"msg\":\"%s\"}\n",
			stamp, now.tv_nsec / 1000, level_names[level], sink.name, escaped);
}

static void put(int fd, char *line, size_t size, int n)
{
	if (n > (int)size - 1) {
		n = (int)size - 1;
		line[n - 1] = '\n';
	}
	if (write(fd, line, (size_t)n) < 0) {
		/* There is nowhere left to report that the log cannot be written. */
	}
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char text[1536], line[4096];
	int saved = errno, n;
	va_list ap;

	if (level > sink.level || sink.fd < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (sink.format == LOG_FORMAT_JSON)
		n = json_line(line, sizeof line, level, text);
	else
		n = text_line(line, sizeof line, level, text);
	put(sink.fd, line, sizeof line, n);
	if (level == LOG_LEVEL_ERROR && sink.error_copy_fd >= 0)
		put(sink.error_copy_fd, line, sizeof line, text_line(line, sizeof line, level, text));
	errno = saved;
}

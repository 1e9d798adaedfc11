/* SPDX-License-Identifier: Apache-2.0 */
/* A process as /proc tells of it (proc(5)), in Kata's families. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "pod/metrics.h"

#define FILE_MAX (1 << 20)

/* A process whose numbers are wanted: its directory of /proc, and what the families are called. */
struct subject {
	struct prom *p;
	int dir_fd;
	const char *prefix, *who;
};

static void add(const struct subject *s, const char *name, enum prom_type type, const char *help,
		const struct prom_label *labels, size_t n, double value)
{
	char full[96], text[160];

	snprintf(full, sizeof(full), "%s_%s", s->prefix, name);
	snprintf(text, sizeof(text), "%s %s", s->who, help);
	prom_add(s->p, full, type, text, labels, n, value);
}

static void item(const struct subject *s, const char *name, const char *help, const char *which, double value)
{
	add(s, name, PROM_GAUGE, help, &(struct prom_label){ "item", which }, 1, value);
}

/* "Name:\t123 kB": those that Kata has, scaled to bytes. */
static void status(const struct subject *s)
{
	static const char *const wanted[] = {
		"VmPeak",
		"VmSize",
		"VmLck",
		"VmPin",
		"VmHWM",
		"VmRSS",
		"RssAnon",
		"RssFile",
		"RssShmem",
		"VmData",
		"VmStk",
		"VmExe",
		"VmLib",
		"VmPTE",
		"VmSwap",
		"HugetlbPages",
		"voluntary_ctxt_switches",
		"nonvoluntary_ctxt_switches",
	};
	_cleanup_free_ char *text = NULL;
	char *rest, *line;

	if (file_read_at(s->dir_fd, "status", FILE_MAX, &text, NULL) < 0)
		return;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, ':'), lower[64];
		size_t n = 0;

		if (!value)
			continue;
		*value++ = '\0';
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
			if (!str_eq(line, wanted[i]))
				continue;
			for (; line[n] && n < sizeof(lower) - 1; n++)
				lower[n] = (char)tolower((unsigned char)line[n]);
			lower[n] = '\0';
			item(s, "proc_status", "process status.", lower,
			     strtod(value, NULL) * (strstr(value, "kB") ? 1024 : 1));
		}
	}
}

/* The names as Kata's library for /proc has them. */
static void io(const struct subject *s)
{
	static const char *const names[][2] = {
		{ "rchar", "rchar" },
		{ "wchar", "wchar" },
		{ "syscr", "syscr" },
		{ "syscw", "syscw" },
		{ "read_bytes", "readbytes" },
		{ "write_bytes", "writebytes" },
		{ "cancelled_write_bytes", "cancelledwritebytes" },
	};
	_cleanup_free_ char *text = NULL;
	char *rest, *line;

	if (file_read_at(s->dir_fd, "io", FILE_MAX, &text, NULL) < 0)
		return;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		const char *name = strsep(&line, ":");

		for (size_t i = 0; line && i < sizeof(names) / sizeof(names[0]); i++)
			if (str_eq(name, names[i][0]))
				item(s, "io_stat", "process IO statistics.", names[i][1], strtod(line, NULL));
	}
}

/* Fields of stat behind the name in parentheses, which may hold anything. [0] is the state. */
#define STAT_UTIME   11
#define STAT_STIME   12
#define STAT_CUTIME  13
#define STAT_CSTIME  14
#define STAT_THREADS 17
#define STAT_START   19
#define STAT_VSIZE   20
#define STAT_RSS     21
#define STAT_N       22

static bool read_stat(const struct subject *s, double *ret)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *word;
	size_t n = 0;

	if (file_read_at(s->dir_fd, "stat", FILE_MAX, &text, NULL) < 0)
		return false;
	rest = strrchr(text, ')');
	if (!rest || !rest[1])
		return false;
	rest += 2;
	while (n < STAT_N && (word = strsep(&rest, " ")))
		ret[n++] = strtod(word, NULL);
	return n == STAT_N;
}

static unsigned count_descriptors(int dir_fd)
{
	int fd = openat(dir_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	unsigned n = 0;

	while (d && (entry = readdir(d)))
		n += entry->d_name[0] != '.';
	return n;
}

/* The soft limit of open files; 0: not told. */
static double max_descriptors(int dir_fd)
{
	_cleanup_free_ char *text = NULL;
	const char *line;

	if (file_read_at(dir_fd, "limits", FILE_MAX, &text, NULL) < 0 || !(line = strstr(text, "Max open files")))
		return 0;
	return strtod(line + strlen("Max open files"), NULL);
}

/* Seconds since the epoch at which the machine started; 0: not told. */
static double boot_time(const char *proc)
{
	_cleanup_free_ char *path = str_printf("%s/stat", proc), *text = NULL;
	const char *line;

	if (!path || file_read(path, FILE_MAX, &text, NULL) < 0 || !(line = strstr(text, "\nbtime ")))
		return 0;
	return strtod(line + strlen("\nbtime "), NULL);
}

static void totals(const struct subject *s, const char *proc, const double *stat, unsigned descriptors)
{
	double ticks = (double)sysconf(_SC_CLK_TCK);

	add(s, "process_cpu_seconds_total", PROM_COUNTER, "process: user and system CPU time spent in seconds.", NULL,
	    0, (stat[STAT_UTIME] + stat[STAT_STIME]) / ticks);
	add(s, "process_open_fds", PROM_GAUGE, "process: open file descriptors.", NULL, 0, descriptors);
	add(s, "process_max_fds", PROM_GAUGE, "process: most open file descriptors.", NULL, 0,
	    max_descriptors(s->dir_fd));
	add(s, "process_virtual_memory_bytes", PROM_GAUGE, "process: virtual memory size in bytes.", NULL, 0,
	    stat[STAT_VSIZE]);
	add(s, "process_resident_memory_bytes", PROM_GAUGE, "process: resident memory size in bytes.", NULL, 0,
	    stat[STAT_RSS] * (double)sysconf(_SC_PAGESIZE));
	add(s, "process_start_time_seconds", PROM_GAUGE, "process: start time since the epoch in seconds.", NULL, 0,
	    boot_time(proc) + stat[STAT_START] / ticks);
}

/* Two header lines; "  eth0: 1 2 3 …". */
static void netdev(const struct subject *s)
{
	static const char *const columns[] = {
		"recv_bytes",      "recv_packets",   "recv_errs",    "recv_drop",       "recv_fifo", "recv_frame",
		"recv_compressed", "recv_multicast", "sent_bytes",   "sent_packets",    "sent_errs", "sent_drop",
		"sent_fifo",       "sent_colls",     "sent_carrier", "sent_compressed",
	};
	_cleanup_free_ char *text = NULL;
	char *rest, *line;

	if (file_read_at(s->dir_fd, "net/dev", FILE_MAX, &text, NULL) < 0)
		return;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, ':'), *end;
		struct prom_label labels[2] = { { "interface", line + strspn(line, " ") }, { "item", NULL } };

		if (!value || strchr(line, '|'))
			continue;
		*value++ = '\0';
		for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++, value = end) {
			double v = strtod(value, &end);

			if (end == value)
				break;
			labels[1].value = columns[i];
			add(s, "netdev", PROM_GAUGE, "network device statistics.", labels, 2, v);
		}
	}
}

void metrics_of_process(struct prom *p, const char *proc, const char *prefix, const char *who, pid_t pid,
			unsigned parts)
{
	static const char *const times[] = { "utime", "stime", "cutime", "cstime" };
	_cleanup_free_ char *path = str_printf("%s/%d", proc, pid);
	_cleanup_close_ int dir_fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	const struct subject s = { .p = p, .dir_fd = dir_fd, .prefix = prefix, .who = who };
	double stat[STAT_N];
	unsigned descriptors;

	if (dir_fd < 0 || !read_stat(&s, stat))
		return;
	descriptors = count_descriptors(dir_fd);
	add(&s, "threads", PROM_GAUGE, "process threads.", NULL, 0, stat[STAT_THREADS]);
	add(&s, "fds", PROM_GAUGE, "open FDs.", NULL, 0, descriptors);
	for (size_t i = 0; i < 4; i++)
		item(&s, "proc_stat", "process statistics.", times[i], stat[STAT_UTIME + i]);
	status(&s);
	io(&s);
	if (parts & METRICS_TOTALS)
		totals(&s, proc, stat, descriptors);
	if (parts & METRICS_NETDEV)
		netdev(&s);
}

// SPDX-License-Identifier: Apache-2.0
/*
 * GetMetrics: the guest's and our own numbers from /proc as Prometheus text, in the families that Kata's agent has
 *, so that dashboards made for it work.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/rpc.h"
#include "base/fd.h"

#define PROC_MAX (1u << 20)

static void family(struct buf *b, const char *name, const char *help)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

static void gauge(struct buf *b, const char *name, const char *help, double value)
{
	family(b, name, help);
	buf_printf(b, "%s %.17g\n", name, value);
}

/* Label values of our own making and of the kernel's (device names): only what cannot break the format. */
static void label(char *out, size_t size, const char *in, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n && at + 1 < size; i++)
		if (isalnum((unsigned char)in[i]) || strchr("_-.@()", in[i]))
			out[at++] = (char)tolower((unsigned char)in[i]);
	out[at] = '\0';
}

/* Files of "name: value" or "name value" lines: one sample each, scaled by 1024 where the line ends in kB. */
static void name_values(struct buf *b, const char *file, const char *metric, const char *help)
{
	_cleanup_free_ char *text = NULL;
	char *next = NULL;

	if (file_read(file, PROC_MAX, &text, NULL) < 0)
		return;
	family(b, metric, help);
	for (char *line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		size_t n = strcspn(line, ": \t");
		char name[64], *end;
		unsigned long long v;

		label(name, sizeof name, line, n);
		line += n + strspn(line + n, ": \t");
		v = strtoull(line, &end, 10);
		if (end == line || !*name)
			continue;
		buf_printf(b, "%s{item=\"%s\"} %llu\n", metric, name, strstr(end, "kB") ? v << 10 : v);
	}
}

/* Rows of numbers under known column names. skip: words in front of the name's column. */
static void table(struct buf *b, const char *file, int header_lines, int skip, const char *metric, const char *help,
		  const char *key, const char *const *columns, size_t n_columns)
{
	_cleanup_free_ char *text = NULL;
	char *next = NULL;

	if (file_read(file, PROC_MAX, &text, NULL) < 0)
		return;
	family(b, metric, help);
	for (char *line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		char *word, *rest = NULL, name[64];

		if (header_lines-- > 0)
			continue;
		word = strtok_r(line, " \t:", &rest);
		for (int i = 0; word && i < skip; i++)
			word = strtok_r(NULL, " \t:", &rest);
		if (!word)
			continue;
		label(name, sizeof name, word, strlen(word));
		for (size_t i = 0; i < n_columns && (word = strtok_r(NULL, " \t", &rest)); i++)
			if (columns[i])
				buf_printf(b, "%s{%s=\"%s\",item=\"%s\"} %llu\n", metric, key, name, columns[i],
					   strtoull(word, NULL, 10));
	}
}

static void guest_cpu(struct buf *b)
{
	static const char *const items[] = { "user", "nice",    "system", "idle",  "iowait",
					     "irq",  "softirq", "steal",  "guest", "guest_nice" };
	_cleanup_free_ char *text = NULL;
	char *next = NULL;

	if (file_read("/proc/stat", PROC_MAX, &text, NULL) < 0)
		return;
	family(b, "kata_guest_cpu_time", "Guest CPU statistics.");
	for (char *line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		char *rest = NULL, *word, cpu[16];

		if (!str_after(line, "cpu"))
			break;
		word = strtok_r(line, " ", &rest);
		label(cpu, sizeof cpu, word, strlen(word));
		for (size_t i = 0; i < 10 && (word = strtok_r(NULL, " ", &rest)); i++)
			buf_printf(b, "kata_guest_cpu_time{cpu=\"%s\",item=\"%s\"} %llu\n",
				   strcmp(cpu, "cpu") ? cpu + 3 : "total", items[i], strtoull(word, NULL, 10));
	}
}

static void guest_load(struct buf *b)
{
	_cleanup_free_ char *text = NULL;
	double l1, l5, l15;
	unsigned int running, total;

	if (file_read("/proc/loadavg", 256, &text, NULL) < 0 ||
	    sscanf(text, "%lf %lf %lf %u/%u", &l1, &l5, &l15, &running, &total) != 5)
		return;
	family(b, "kata_guest_load", "Guest system load.");
	buf_printf(b,
		   "kata_guest_load{item=\"load1\"} %g\nkata_guest_load{item=\"load5\"} %g\n"
		   "kata_guest_load{item=\"load15\"} %g\n",
		   l1, l5, l15);
	family(b, "kata_guest_tasks", "Guest system tasks.");
	buf_printf(b, "kata_guest_tasks{item=\"cur\"} %u\nkata_guest_tasks{item=\"max\"} %u\n", running, total);
}

static void guest(struct buf *b)
{
	static const char *const disk[] = { "reads",
					    "reads_merged",
					    "sectors_read",
					    "time_reading",
					    "writes",
					    "writes_merged",
					    "sectors_written",
					    "time_writing",
					    "in_progress",
					    "time_in_progress",
					    "weighted_time_in_progress" };
	static const char *const net[] = { "recv_bytes", "recv_packets", "recv_errs",       "recv_drop",
					   "recv_fifo",  "recv_frame",   "recv_compressed", "recv_multicast",
					   "sent_bytes", "sent_packets", "sent_errs",       "sent_drop",
					   "sent_fifo",  "sent_colls",   "sent_carrier",    "sent_compressed" };

	guest_load(b);
	guest_cpu(b);
	name_values(b, "/proc/meminfo", "kata_guest_meminfo", "Statistics about memory usage on the system.");
	name_values(b, "/proc/vmstat", "kata_guest_vm_stat", "Guest virtual memory statistics.");
	table(b, "/proc/diskstats", 0, 2, "kata_guest_diskstat", "Disks stat in system.", "disk", disk, 11);
	table(b, "/proc/net/dev", 2, 0, "kata_guest_netdev_stat", "Guest net devices statistics.", "interface", net,
	      16);
}

static double count_fds(void)
{
	_cleanup_closedir_ DIR *d = opendir("/proc/self/fd");
	double n = -3; /* ".", ".." and the directory's own */

	while (d && readdir(d))
		n++;
	return n;
}

static void self(struct buf *b, struct agent *a)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long user = 0, sys = 0, start = 0, vsize = 0;
	double hz = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
	const char *rest;
	struct rlimit fds;
	long long rss = 0;

	gauge(b, "kata_agent_scrape_count", "Metrics scrape count.", (double)++a->scrapes);
	/* proc(5): fields 14, 15, 22, 23, 24, counted behind the name, which may contain anything. */
	if (file_read("/proc/self/stat", 4096, &text, NULL) == 0 && (rest = strrchr(text, ')')) &&
	    sscanf(rest + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu %llu %lld",
		   &user, &sys, &start, &vsize, &rss) == 5) {
		family(b, "kata_agent_total_time", "Agent process total time.");
		buf_printf(b, "kata_agent_total_time{item=\"user\"} %g\nkata_agent_total_time{item=\"system\"} %g\n",
			   (double)user / hz, (double)sys / hz);
		gauge(b, "kata_agent_process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
		      (double)(user + sys) / hz);
		gauge(b, "kata_agent_total_vm", "Agent process total VM size.", (double)vsize);
		gauge(b, "kata_agent_total_rss", "Agent process total RSS size.", (double)rss * page);
		gauge(b, "kata_agent_process_resident_memory_bytes", "Resident memory size in bytes.",
		      (double)rss * page);
		gauge(b, "kata_agent_process_virtual_memory_bytes", "Virtual memory size in bytes.", (double)vsize);
		gauge(b, "kata_agent_process_start_time_seconds", "Start time of the process since boot in seconds.",
		      (double)start / hz);
	}
	gauge(b, "kata_agent_process_open_fds", "Number of open file descriptors.", count_fds());
	if (getrlimit(RLIMIT_NOFILE, &fds) == 0)
		gauge(b, "kata_agent_process_max_fds", "Maximum number of open file descriptors.",
		      (double)fds.rlim_cur);
	name_values(b, "/proc/self/io", "kata_agent_io_stat", "Agent process IO statistics.");
	name_values(b, "/proc/self/status", "kata_agent_proc_status", "Agent process status.");
}

RPC(rpc_get_metrics)
{
	Grpc__Metrics resp = GRPC__METRICS__INIT;
	_cleanup_buf_ struct buf text = { 0 };

	(void)message;
	self(&text, userdata);
	guest(&text);
	resp.metrics = text.data ? text.data : (char *)"";
	ttrpc_reply(req, &resp.base);
}

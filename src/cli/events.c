/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson events: a container's statistics as runc prints them, one JSON object a line, once (--stats) or again and
 * again; and a line when a process has been killed because the container's memory was full. All of it is the guest's
 * own accounting.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"
#include "cli/command.h"
#include "cli/events_json.h"
#include "cli/oci_command.h"
#include "cli/units.h"
#include "codec/pb.h"

#define INTERVAL_MS 5000
/* A process that is out of memory is told of within this time, however seldom statistics are printed. */
#define LOOK_MS         1000
#define INTERVAL_MAX_MS (24 * 3600 * 1000)

static int print_line(const char *text, struct err *e)
{
	return puts(text) == EOF || fflush(stdout) == EOF ? err_sys(e, errno, "cannot print the statistics") : 0;
}

static int get_stats(struct owner_link *l, char **ret, uint64_t *ret_oom_kills, struct err *e)
{
	Containerd__Task__V2__StatsRequest q = CONTAINERD__TASK__V2__STATS_REQUEST__INIT;
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	int r;

	q.id = l->record.id;
	r = owner_call(l, "Stats", &q.base, &containerd__task__v2__stats_response__descriptor, OWNER_TIMEOUT_MS, &m, e);
	return r < 0 ? r
		     : events_stats_json(l->record.id, ((const Containerd__Task__V2__StatsResponse *)m)->stats, ret,
					 ret_oom_kills, e);
}

static int print_oom(const char *id, struct err *e)
{
	_cleanup_free_ char *text = str_printf("{\"type\":\"oom\",\"id\":\"%s\"}", id);

	return text ? print_line(text, e) : err_sys(e, ENOMEM, "cannot print the statistics");
}

/* *known: as many have been killed as it was last seen; UINT64_MAX: this is the first look. */
static int look(struct owner_link *l, bool due, uint64_t *known, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	uint64_t oom_kills;
	int r = get_stats(l, &text, &oom_kills, e);

	if (r == 0 && oom_kills > *known)
		r = print_oom(l->record.id, e);
	if (r == 0 && due)
		r = print_line(text, e);
	if (r == 0)
		*known = oom_kills;
	return r;
}

static int run_events(struct owner_link *l, bool once, uint64_t interval_ms, struct err *e)
{
	uint64_t known = UINT64_MAX, next = clock_ms(), now;
	struct owner_state s;
	int r;

	for (;;) {
		r = owner_state(l, &s, e);
		if (r < 0)
			return r;
		if (s.status == OCI_STOPPED)
			return once ? err_set(e, ERR_CONFIG, ESRCH, "container with id %s is not running", l->record.id)
				    : 0;
		now = clock_ms();
		r = look(l, now >= next, &known, e);
		if (r < 0 || once)
			return r;
		if (now >= next)
			next = now + interval_ms;
		now = clock_ms();
		if (now < next)
			usleep((useconds_t)(next - now < LOOK_MS ? next - now : LOOK_MS) * 1000);
	}
}

int command_events(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = { { "stats", no_argument, NULL, 's' },
						 { "interval", required_argument, NULL, 'i' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	_cleanup_owner_link_ struct owner_link l = { 0 };
	uint64_t interval_ms = INTERVAL_MS;
	struct err e = { 0 };
	bool once = false;
	int flag, r;

	while ((flag = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (flag == 's')
			once = true;
		else if (flag != 'i' || units_milliseconds(optarg, &interval_ms) < 0 || !interval_ms ||
			 interval_ms > INTERVAL_MAX_MS)
			break;
	}
	if (flag != -1 || argc - optind != 1)
		return oci_command_usage("events [--stats] [--interval TIME] ID", flag == 'h');
	r = owner_link_open(&l, g->root, argv[optind], &e);
	if (r == 0)
		r = run_events(&l, once, interval_ms, &e);
	return oci_command_end(r, &e);
}

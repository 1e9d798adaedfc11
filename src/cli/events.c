/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson events: a container's statistics as runc prints them, one JSON object a line, once (--stats) or again and
 * again. They are the guest's own accounting.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "base/strv.h"
#include "cli/command.h"
#include "cli/events_json.h"
#include "cli/oci_command.h"
#include "codec/pb.h"

#define INTERVAL_S 5

static int print_stats(struct owner_link *l, struct err *e)
{
	Containerd__Task__V2__StatsRequest q = CONTAINERD__TASK__V2__STATS_REQUEST__INIT;
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	_cleanup_free_ char *text = NULL;
	int r;

	q.id = l->record.id;
	r = owner_call(l, "Stats", &q.base, &containerd__task__v2__stats_response__descriptor, OWNER_TIMEOUT_MS, &m, e);
	if (r == 0)
		r = events_stats_json(l->record.id, ((const Containerd__Task__V2__StatsResponse *)m)->stats, &text, e);
	if (r == 0 && (puts(text) == EOF || fflush(stdout) == EOF))
		r = err_sys(e, errno, "cannot print the statistics");
	return r;
}

static int run_events(struct owner_link *l, bool once, unsigned interval_s, struct err *e)
{
	struct owner_state s;
	int r;

	for (;; sleep(interval_s)) {
		r = owner_state(l, &s, e);
		if (r < 0)
			return r;
		if (s.status == OCI_STOPPED && once)
			return err_set(e, ERR_CONFIG, ESRCH, "container with id %s is not running", l->record.id);
		if (s.status == OCI_STOPPED)
			return 0;
		r = print_stats(l, e);
		if (r < 0 || once)
			return r;
	}
}

/* "5s", "1m", "5". */
static int parse_interval(const char *text, unsigned *ret)
{
	_cleanup_free_ char *digits = strdup(text);
	size_t n = digits ? strlen(digits) : 0;
	unsigned unit = 1;
	uint64_t v;

	if (n && (digits[n - 1] == 's' || digits[n - 1] == 'm')) {
		unit = digits[n - 1] == 'm' ? 60 : 1;
		digits[n - 1] = '\0';
	}
	if (!n || str_to_u64(digits, 10, &v) < 0 || v == 0 || v > 86400)
		return -EINVAL;
	*ret = (unsigned)v * unit;
	return 0;
}

int command_events(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = { { "stats", no_argument, NULL, 's' },
						 { "interval", required_argument, NULL, 'i' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	_cleanup_owner_link_ struct owner_link l = { 0 };
	unsigned interval_s = INTERVAL_S;
	struct err e = { 0 };
	bool once = false;
	int flag, r;

	while ((flag = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (flag == 's')
			once = true;
		else if (flag != 'i' || parse_interval(optarg, &interval_s) < 0)
			break;
	}
	if (flag != -1 || argc - optind != 1)
		return oci_command_usage("events [--stats] [--interval SECONDS] ID", flag == 'h');
	r = owner_link_open(&l, g->root, argv[optind], &e);
	if (r == 0)
		r = run_events(&l, once, interval_s, &e);
	return oci_command_end(r, &e);
}

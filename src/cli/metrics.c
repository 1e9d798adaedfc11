/* SPDX-License-Identifier: Apache-2.0 */
/* caisson metrics: what the monitors of running pods tell (pod/monitor.h), as one text in Prometheus' format. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/command.h"
#include "codec/prometheus.h"
#include "pod/monitor.h"
#include "pod/state.h"

#define ASK_MS 10000

/* Its samples get the label sandbox_id, as from Kata's monitor. */
static int ask(const char *root, const char *id, struct prom *set, struct err *e)
{
	const struct prom_label label = { "sandbox_id", id };
	const struct prom_read how = { .label = &label };
	_cleanup_pod_state_ struct pod_state state = { 0 };
	_cleanup_buf_ struct buf text = { 0 };
	_cleanup_free_ char *path = NULL;
	bool alive;
	int r = state_read(root, id, &state, &alive, e);

	if (r < 0)
		return r;
	path = str_empty(state.run_dir) ? str_printf("%s/%s/" MONITOR_SOCKET, root, id)
					: str_printf("%s/" MONITOR_SOCKET, state.run_dir);
	if (!path)
		return err_sys(e, ENOMEM, "metrics of %s", id);
	r = pod_monitor_get(path, "/metrics", ASK_MS, &text, e);
	if (r == 0)
		r = prom_read(set, text.data ? text.data : "", text.len, &how, e);
	if (r < 0)
		err_wrap(e, "metrics of %s", id);
	return r;
}

/* One that has just ended, or has no monitor (caisson run), is passed over; with every other trouble the rest is told.
 */
static int ask_all(const char *root, struct prom *set, struct err *e)
{
	_cleanup_strv_ struct strv ids = { 0 };
	unsigned asked = 0, silent = 0;
	int r = state_list(root, &ids, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ids.len; i++) {
		struct err why = { 0 };

		r = ask(root, ids.v[i], set, &why);
		if (r == -ENOENT || r == -ECONNREFUSED)
			continue;
		asked++;
		if (r < 0) {
			silent++;
			log_warn("%s", why.text);
		}
	}
	prom_add(set, "caisson_monitor_sandboxes", PROM_GAUGE, "Pods of this host that were asked for their metrics.",
		 NULL, 0, asked);
	prom_add(set, "caisson_monitor_failed_sandboxes", PROM_GAUGE, "Those of them that did not tell.", NULL, 0,
		 silent);
	return 0;
}

static int print(const struct prom *set)
{
	_cleanup_buf_ struct buf out = { 0 };

	if (prom_write(set, &out) < 0) {
		log_error("there are more metrics than can be told at once: ask for one pod");
		return EXIT_CAISSON;
	}
	if (out.len && fwrite(out.data, out.len, 1, stdout) != 1) {
		log_error("cannot write the metrics");
		return EXIT_CAISSON;
	}
	return 0;
}

int command_metrics(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *root = g->root;
	_cleanup_prom_ struct prom *set = prom_new();
	struct err e = { 0 };
	int flag, r;

	while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (flag != 'r') {
			fprintf(flag == 'h' ? stdout : stderr, "usage: caisson metrics [--root DIR] [ID]\n");
			return flag == 'h' ? 0 : EXIT_CAISSON;
		}
		root = optarg;
	}
	if (argc > optind + 1) {
		log_error("metrics takes one id, or none: \"%s\"", argv[optind + 1]);
		return EXIT_CAISSON;
	}
	r = !set                                         ? err_sys(&e, ENOMEM, "metrics")
	    : optind == argc                             ? ask_all(root, set, &e)
	    : (r = state_check_id(argv[optind], &e)) < 0 ? r
							 : ask(root, argv[optind], set, &e);
	if (r < 0) {
		log_error("%s", e.text);
		return EXIT_CAISSON;
	}
	return print(set);
}

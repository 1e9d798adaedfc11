/* SPDX-License-Identifier: Apache-2.0 */
/* caisson list: the containers of this host. */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "cli/command.h"
#include "cli/list_oci.h"
#include "cli/oci_record.h"
#include "cli/table.h"
#include "oci/image.h"
#include "pod/hooks.h"
#include "pod/state.h"

/* Containers of OCI clients and their bundles, one for one. What is told of them goes with what they left. */
struct bundles {
	struct strv ids, paths;
};

static void bundles_fini(struct bundles *b)
{
	strv_fini(&b->ids);
	strv_fini(&b->paths);
}

static int find_bundles(const char *root, struct bundles *ret, struct err *e)
{
	_cleanup_strv_ struct strv ids = { 0 };
	int r = state_list(root, &ids, e);

	for (size_t i = 0; r == 0 && i < ids.len; i++) {
		_cleanup_oci_record_ struct oci_record record = { 0 };

		if (oci_record_read(root, ids.v[i], &record, NULL) < 0)
			continue;
		if (strv_add(&ret->paths, record.bundle) < 0 || strv_add(&ret->ids, ids.v[i]) < 0)
			r = err_sys(e, ENOMEM, "cannot prune %s", root);
	}
	return r;
}

/* What its owner would have done in the end: see left_over() in delete.c. */
static void run_hooks(const struct bundles *b, const char *id)
{
	for (size_t i = 0; i < b->ids.len; i++)
		if (str_eq(b->ids.v[i], id))
			hooks_run_poststop_left(id, b->paths.v[i]);
}

static int prune(const char *root)
{
	_cleanup_(bundles_fini) struct bundles bundles = { 0 };
	_cleanup_strv_ struct strv removed = { 0 };
	struct err e = { 0 };
	int r = find_bundles(root, &bundles, &e);

	if (r == 0)
		r = state_prune(root, &removed, &e);
	for (size_t i = 0; i < removed.len; i++) {
		run_hooks(&bundles, removed.v[i]);
		printf("removed %s\n", removed.v[i]);
	}
	if (r < 0) {
		log_error("%s", e.text);
		return EXIT_CAISSON;
	}
	/* Half-unpacked images, too. */
	if (oci_image_clean_store(OCI_IMAGE_STORE, &e) < 0) {
		log_error("%s", e.text);
		return EXIT_CAISSON;
	}
	return 0;
}

static void print_json(const struct pod_state *s, const char *status, json_object *list)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "id", json_object_new_string(s->id));
	json_object_object_add(o, "status", json_object_new_string(status));
	json_object_object_add(o, "pid", json_object_new_int(s->pid));
	json_object_object_add(o, "hypervisor", json_object_new_string(s->hypervisor));
	json_object_object_add(o, "created", json_object_new_int64(s->created));
	json_object_object_add(o, "rootfs", json_object_new_string(s->rootfs));
	json_object_object_add(o, "command", json_object_new_string(s->command));
	json_object_array_add(list, o);
}

static void print_row(const struct pod_state *s, const char *status, struct table *t)
{
	char since[32];
	struct tm tm;
	time_t at = s->created;

	localtime_r(&at, &tm);
	strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S", &tm);
	table_cell(t, "%s", s->id);
	table_cell(t, "%d", s->pid);
	table_cell(t, "%s", status);
	table_cell(t, "%s", s->hypervisor);
	table_cell(t, "%s", since);
	table_cell(t, "%s", s->command);
}

static int describe(const char *root, const char *id, struct pod_state *ret, const char **ret_status, struct err *e)
{
	int r = list_oci_describe(root, id, ret, ret_status, e);
	bool alive;

	if (r != -ENOENT)
		return r;
	*e = (struct err){ 0 };
	r = state_read(root, id, ret, &alive, e);
	if (r == 0)
		*ret_status = alive ? ret->status : "dead";
	return r;
}

static int list_formatted(const char *root, bool json)
{
	_cleanup_strv_ struct strv ids = { 0 };
	struct err e = { 0 };
	int r = state_list(root, &ids, &e);

	if (r == 0)
		r = list_as_runc(root, &ids, json, &e);
	if (r < 0)
		log_error("%s", e.text);
	return r < 0 ? EXIT_OCI : 0;
}

static int list(const char *root, bool quiet, bool json)
{
	_cleanup_strv_ struct strv ids = { 0 };
	_cleanup_(table_fini) struct table t = { .columns = 6 };
	json_object *all = json_object_new_array();
	struct err e = { 0 };

	if (state_list(root, &ids, &e) < 0) {
		log_error("%s", e.text);
		json_object_put(all);
		return EXIT_CAISSON;
	}
	for (const char *const *h =
		     (const char *const[]){ "ID", "PID", "STATUS", "HYPERVISOR", "CREATED", "COMMAND", NULL };
	     *h; h++)
		table_cell(&t, "%s", *h);
	for (size_t i = 0; i < ids.len; i++) {
		_cleanup_pod_state_ struct pod_state s = { 0 };
		const char *status;

		/* One that has just ended is not worth a word; a damaged one is. */
		if (describe(root, ids.v[i], &s, &status, &e) < 0) {
			if (e.code != ENOENT)
				log_warn("%s", e.text);
			e = (struct err){ 0 };
			continue;
		}
		if (quiet)
			printf("%s\n", s.id);
		else if (json)
			print_json(&s, status, all);
		else
			print_row(&s, status, &t);
	}
	if (json)
		printf("%s\n",
		       json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	else if (!quiet)
		table_print(&t, stdout);
	json_object_put(all);
	return 0;
}

int command_list(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "prune", no_argument, NULL, 'p' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ "format", required_argument, NULL, 'f' },
		{ 0 },
	};
	bool quiet = false, json = false, remove_dead = false;
	const char *root = g->root, *format = NULL;
	int flag;

	while ((flag = getopt_long(argc, argv, "qf:h", options, NULL)) != -1) {
		if (flag == 'j')
			json = true;
		else if (flag == 'q')
			quiet = true;
		else if (flag == 'p')
			remove_dead = true;
		else if (flag == 'r')
			root = optarg;
		else if (flag == 'f' && (str_eq(optarg, "json") || str_eq(optarg, "table")))
			format = optarg;
		else {
			fprintf(flag == 'h' ? stdout : stderr, "usage: caisson list [--json] [--quiet] [--prune] "
							       "[--format table|json] [--root DIR]\n");
			return flag == 'h' ? 0 : EXIT_CAISSON;
		}
	}
	if (optind < argc) {
		log_error("list takes no argument: \"%s\"", argv[optind]);
		return EXIT_CAISSON;
	}
	if (remove_dead)
		return prune(root);
	return format && !quiet ? list_formatted(root, str_eq(format, "json")) : list(root, quiet, json);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* caisson delete: end a container's life, also when its owner has died. */
#include "cli/delete.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "cli/command.h"
#include "cli/oci_command.h"
#include "pod/hooks.h"
#include "pod/pod.h"
#include "pod/state.h"

/* From SIGKILL to the end of the process in the guest: the owner sees to that, also against its guest. */
#define KILL_TIMEOUT_MS (POD_KILL_MS + 10000)
/* The owner of the last container takes down its virtual machine. */
#define GONE_TIMEOUT_MS   60000
#define FOLDER_TIMEOUT_MS 1000
#define POLL_US           5000

static bool has_record(const char *root, const char *id)
{
	char path[PATH_MAX + 128];

	snprintf(path, sizeof path, "%s/%s/oci.json", root, id);
	return access(path, F_OK) == 0;
}

/* What a dead owner left of a container, and of the pod, if this was its first container, or that has gone before. */
static int left_over(const char *root, const char *sandbox, const char *id, struct err *e)
{
	_cleanup_oci_record_ struct oci_record record = { 0 };
	bool recorded = oci_record_read(root, id, &record, NULL) == 0;
	char path[PATH_MAX + 96];
	int r;

	/* Its owner is only ending. */
	if (!str_eq(sandbox, id) && state_dir_is_held(root, id))
		return -EBUSY;
	r = str_eq(sandbox, id) || !has_record(root, sandbox) ? pod_cleanup(root, sandbox, e) : 0;
	/* The first one is just coming again. */
	if (r == -EBUSY && !str_eq(sandbox, id))
		r = 0;
	if (r < 0)
		return r;
	snprintf(path, sizeof path, "%s/%s", root, id);
	r = dir_remove(path);
	if (r < 0)
		return err_sys(e, -r, "cannot remove %s", path);
	/* At last: meanwhile the id may be somebody else's. */
	if (recorded)
		hooks_run_poststop_left(record.id, record.bundle);
	return 0;
}

/* Whoever answers in the place of a dead one is another container's. */
static bool answers_nobody(const char *root, const char *sandbox, const char *id)
{
	char path[PATH_MAX + 96];
	int fd = -1, r;

	if (!state_dir_is_held(root, id))
		return true;
	snprintf(path, sizeof path, "%s/%s/" OWNER_SOCKET, root, sandbox);
	r = unix_connect(path, &fd);
	fd_close(&fd);
	return r == -ECONNREFUSED || r == -ENOENT;
}

/*
 * The record goes first. The folder follows at once, unless a pod without its first container still lives there: then
 * it is not waited for. An owner that takes down its virtual machine answers nobody any more and is not dead yet:
 * -EBUSY of left_over(), and it is waited for.
 */
int delete_await_gone(const char *root, const char *sandbox, const char *id, struct err *e)
{
	char dir[PATH_MAX + 96], record[PATH_MAX + 128];
	uint64_t deadline = clock_ms() + GONE_TIMEOUT_MS;
	struct err own = { 0 };
	int r;

	snprintf(dir, sizeof dir, "%s/%s", root, id);
	snprintf(record, sizeof record, "%s/oci.json", dir);
	for (; access(record, F_OK) == 0; usleep(POLL_US)) {
		if (answers_nobody(root, sandbox, id) && (r = left_over(root, sandbox, id, &own)) != -EBUSY) {
			if (r < 0 && e)
				*e = own;
			return r;
		}
		if (clock_ms() > deadline)
			return err_set(e, ERR_LIMIT, ETIMEDOUT, "%s is still there after %d s", record,
				       GONE_TIMEOUT_MS / 1000);
	}
	deadline = clock_ms() + FOLDER_TIMEOUT_MS;
	while (access(dir, F_OK) == 0 && clock_ms() < deadline)
		usleep(POLL_US);
	return 0;
}

static int delete_in_owner(struct owner_link *l, const char *root, struct err *e)
{
	Containerd__Task__V2__DeleteRequest q = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;
	int r;

	q.id = l->record.id;
	r = owner_call(l, "Delete", &q.base, &containerd__task__v2__delete_response__descriptor, OWNER_TIMEOUT_MS, NULL,
		       e);
	/* It died under our hands, or the other one of two deletes was quicker: what counts is that it goes away. */
	if (r < 0 && r != -ECONNRESET && r != -ENOENT)
		return r;
	return delete_await_gone(root, l->record.sandbox, l->record.id, e);
}

int delete_container(struct owner_link *l, const char *root, bool force, struct err *e)
{
	struct owner_state s;
	struct err ignored;
	int r = owner_state(l, &s, e);

	if (r < 0 && !force)
		return r;
	if (!l->client)
		return delete_await_gone(root, l->record.sandbox, l->record.id, e);
	if (!force && s.status != OCI_STOPPED && s.status != OCI_CREATED)
		return err_set(e, ERR_CONFIG, EBUSY, "cannot delete container %s that is not stopped: %s", l->record.id,
			       oci_status_name(s.status));
	/* Whoever does not know whether it runs kills it. */
	if ((r < 0 || s.status != OCI_STOPPED) && owner_kill(l, SIGKILL, false, &ignored) == 0)
		(void)owner_wait(l, KILL_TIMEOUT_MS, &ignored);
	return delete_in_owner(l, root, e);
}

int command_delete(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = { { "force", no_argument, NULL, 'f' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	_cleanup_owner_link_ struct owner_link l = { 0 };
	struct err e = { 0 };
	bool force = false;
	int flag, r;

	while ((flag = getopt_long(argc, argv, "fh", options, NULL)) == 'f')
		force = true;
	if (flag != -1 || argc - optind != 1)
		return oci_command_usage("delete [--force] ID", flag == 'h');
	r = owner_link_open(&l, g->root, argv[optind], &e);
	/* What is not there needs no force. */
	if (r == -ENOENT && force)
		return 0;
	if (r == 0)
		r = delete_container(&l, g->root, force, &e);
	return oci_command_end(r, &e);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/old_pod.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"
#include "cli/delete.h"
#include "cli/owner_link.h"
#include "pod/state.h"
#include "task/group.h"

/* What engines give a container to end by itself. */
#define TERM_TIMEOUT_MS 10000
/* Its virtual machine is taken down. */
#define GONE_TIMEOUT_MS 60000
#define POLL_US         5000

/* *ret_told: annotations say so of one of them. */
static int find_members(const char *root, const char *sandbox, struct strv *ret, bool *ret_told, struct err *e)
{
	_cleanup_strv_ struct strv ids = { 0 };
	int r = state_list(root, &ids, e);

	*ret_told = false;

	for (size_t i = 0; r == 0 && i < ids.len; i++) {
		_cleanup_oci_record_ struct oci_record record = { 0 };
		_cleanup_task_group_ struct task_group group = { 0 };

		if (oci_record_read(root, ids.v[i], &record, NULL) < 0 || !str_eq(record.sandbox, sandbox))
			continue;
		*ret_told |= task_group_read(record.bundle, record.id, &group, NULL) == 0 && group.is_member;
		if (strv_add(ret, ids.v[i]) < 0)
			r = err_sys(e, ENOMEM, "cannot end the pod %s", sandbox);
	}
	return r;
}

/* Who does not hear it, or has ended, is deleted all the same. */
static void tell(const char *root, const char *id)
{
	_cleanup_owner_link_ struct owner_link l = { 0 };

	if (owner_link_open(&l, root, id, NULL) == 0)
		(void)owner_kill(&l, SIGTERM, false, NULL);
}

static void await_end(const char *root, const char *id, uint64_t deadline)
{
	_cleanup_owner_link_ struct owner_link l = { 0 };
	uint64_t now = clock_ms();

	if (now < deadline && owner_link_open(&l, root, id, NULL) == 0)
		(void)owner_wait(&l, (int)(deadline - now), NULL);
}

static int delete_member(const char *root, const char *id, struct err *e)
{
	_cleanup_owner_link_ struct owner_link l = { 0 };
	int r = owner_link_open(&l, root, id, e);

	/* The engine may delete what ends, too. */
	return r == -ENOENT ? 0 : r < 0 ? r : delete_container(&l, root, true, e);
}

/* What a dead owner has left is swept away by the next one. */
static bool is_there(const char *root, const char *sandbox)
{
	_cleanup_pod_state_ struct pod_state s = { 0 };
	char path[PATH_MAX + 96];
	bool alive = false;

	snprintf(path, sizeof path, "%s/%s", root, sandbox);
	return access(path, F_OK) == 0 && (state_read(root, sandbox, &s, &alive, NULL) < 0 || alive);
}

int old_pod_end(const char *root, const char *sandbox, struct err *e)
{
	_cleanup_strv_ struct strv members = { 0 };
	struct err ignored = { 0 };
	uint64_t deadline;
	bool told = false;
	int r = find_members(root, sandbox, &members, &told, e);

	if (r < 0 || !told)
		return r;
	for (size_t i = 0; i < members.len; i++)
		tell(root, members.v[i]);
	deadline = clock_ms() + TERM_TIMEOUT_MS;
	for (size_t i = 0; i < members.len; i++)
		await_end(root, members.v[i], deadline);
	for (size_t i = 0; i < members.len; i++) {
		ignored = (struct err){ 0 };
		r = delete_member(root, members.v[i], &ignored);
		if (r < 0)
			return err_set(e, ERR_SYSTEM, -r, "cannot end the pod %s, which is still there: %s", sandbox,
				       ignored.text);
	}
	for (deadline = clock_ms() + GONE_TIMEOUT_MS; is_there(root, sandbox); usleep(POLL_US))
		if (clock_ms() > deadline)
			return err_set(e, ERR_LIMIT, ETIMEDOUT, "the pod %s is still there after %d s", sandbox,
				       GONE_TIMEOUT_MS / 1000);
	return 1;
}

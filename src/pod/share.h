/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How host paths reach the guest. A share is a list of items, each a file or directory of the host (or a text made up
 * here) under a name; in the guest the item is GUEST_SHARE_DIR/NAME. Three methods carry it:
 *
 *   virtio-fs  a staging folder in a mount namespace of our own holds one bind mount per item; virtiofsd serves it
 *   virtio-9p  the same staging folder, served by the VMM itself
 *   none       nothing is shared: items are copied through the agent once it is up
 *
 * The staging folder lives in a private mount namespace, so that its mounts end with our processes, even by SIGKILL,
 * and are never seen on the host. Items come and go while the VM runs: the folder's mount is shared, so that what is
 * mounted there reaches the server's own mount namespace.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/strv.h"
#include "config/config.h"
#include "pod/agent.h"
#include "sys/mountinfo.h"

struct vm_capabilities;
struct share_method;

struct share_item {
	char *name;   /* one path component */
	char *source; /* host path; NULL: content */
	char *content;
	bool readonly;
	bool follows; /* what is mounted below it later reaches the guest: pod/share_follow.h */
	bool there;   /* staged, or copied into the guest */
	/* While it follows: where it is, links followed, and the mounts below that the stage has. */
	char *real;
	struct mountinfo_mounts below;
};

struct share {
	const struct share_method *method;
	const struct config_hypervisor *hv;
	char *staging; /* RUN_DIR/shared */
	char *socket;  /* virtio-fs: RUN_DIR/virtiofsd.sock */
	struct share_item *items;
	size_t n_items;
	/* while it runs */
	bool own_namespace; /* the process has a mount namespace of its own already (share_enter_namespace()) */
	pid_t daemon_pid;
	int daemon_pidfd;
	bool staged;
};

/* Choose the method that hv->shared_fs asks for. -ENOTSUP, naming the reason, when the driver cannot do it. */
int share_init(struct share *s, const struct config_hypervisor *hv, const struct vm_capabilities *can,
	       const char *run_dir, struct err *e);
void share_fini(struct share *s);

const char *share_name(const struct share *s);
/* Whether a VM device and an agent storage carry the share. */
bool share_is_virtio_fs(const struct share *s);
bool share_is_9p(const struct share *s);
bool share_copies(const struct share *s);

/* Plan an item. source or content is copied. */
int share_add(struct share *s, const char *name, const char *source, const char *content, bool readonly, struct err *e);

/* The item's mounts are to follow those of the host. There may be none of that name. */
void share_set_follows(struct share *s, const char *name);

/* The command line of the file server, for plans; empty when there is none. -ENOENT when it is not installed. */
int share_describe(const struct share *s, struct strv *ret, struct err *e);

/* A mount namespace of the calling process's own, which sees what is mounted outside, but not the other way round. */
int share_enter_namespace(struct err *e);
/* Before the VM starts: stage the items, start the server. Undone by share_stop(). */
int share_start(struct share *s, struct err *e);
/* When the agent answers, and after later share_add()s: stage what is new, or copy it. */
int share_publish(struct share *s, struct agent *agent, struct err *e);
/* The item of that name only; 0 also when there is none. */
int share_publish_item(struct share *s, const char *name, struct agent *agent, struct err *e);
/*
 * A detached copy of the mount at dirfd/path ("": of what dirfd refers to), as the guest may have it. Returns a
 * descriptor, or -errno.
 */
int share_clone(int dirfd, const char *path, bool recursive, bool readonly);
/* NULL: there is none of that name. Valid until the next share_add() or share_remove(). */
const struct share_item *share_find(const struct share *s, const char *name);
/*
 * Where items are copied: copy one, also over what the guest has, as agent_copy_path_async() does. share_is_there(): it
 * has been copied; a name that is no item's counts as there.
 */
int share_copy(const struct share *s, const char *name, struct agent *agent, agent_done_fn fn, void *userdata,
	       struct agent_copy **ret, struct err *e);
bool share_is_there(const struct share *s, const char *name);
void share_set_there(struct share *s, const char *name);
/*
 * Take the item of that name away, also while the VM runs; 0 also when there is none. What was copied stays in the
 * guest: the agent protocol cannot remove it.
 */
void share_remove(struct share *s, const char *name);
/* Whether the server is gone although share_stop() was not called. */
bool share_server_ended(const struct share *s);
/* Did it end as it does when the VMM closes its connection, and not by a failure of its own? */
bool share_server_was_left(const struct share *s);
/* End the server and the staging. Idempotent. */
void share_stop(struct share *s);

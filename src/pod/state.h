/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written down about a running container or pod, so that other commands find it and a later one can clean up
 * after a killed runtime: ROOT/ID/state.json beside the sockets and logs of the VM.
 *
 * The owner holds a lock (flock) on ROOT/ID/lock for as long as it lives; the kernel drops it when the owner dies in
 * whatever way. So "is it alive" needs no pid that could have been reused.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"

/* In the state directory: the container's process as the OCI runtime spec writes it, which exec starts from. */
#define STATE_PROCESS_FILE "process.json"

struct pod_state {
	char *id;
	char *namespace; /* of containerd, whose ids are its own; NULL or "": another client's */
	char *status;    /* "creating", "running", "stopped" */
	char *hypervisor;
	char *agent_address; /* "hvsock:PATH" or "vsock:CID" */
	char *command;       /* for people */
	char *rootfs;
	char *run_dir;   /* sockets of the VM, when not in the state directory itself; NULL or "": there */
	char *netns;     /* that has our taps; NULL or "": none */
	char *cgroup;    /* of the sandbox, as host_cgroup_describe() has it; NULL or "": none */
	pid_t pid;       /* of the owner */
	int64_t created; /* seconds since the epoch */
	bool terminal;
	struct pod_state_container *containers;
	size_t n_containers;
};

/* A container of a pod, as far as clean-up and listings need it. */
struct pod_state_container {
	char *id, *bundle;
	char *cgroup; /* of its own, beside the sandbox's; "": none */
	pid_t pid;    /* of its stand-in; 0: that has ended */
};

void pod_state_fini(struct pod_state *s);
/* Strings are copied; cgroup NULL: none. 0 or -ENOMEM. */
int pod_state_add_container(struct pod_state *s, const char *id, const char *bundle, const char *cgroup, pid_t pid);
bool pod_state_has(const struct pod_state *s, const char *id);
void pod_state_clear_containers(struct pod_state *s);
#define _cleanup_pod_state_ __attribute__((cleanup(pod_state_fini)))

/* $XDG_RUNTIME_DIR, where the host's root does not call us; NULL: it does, or the variable is not set. */
const char *state_user_dir(void);

/* /run/caisson, or $XDG_RUNTIME_DIR/caisson for users who are not root. Written to buf. */
const char *state_default_root(char *buf, size_t size);

/* A container id that can be part of paths, host names and agent messages: [a-zA-Z0-9][a-zA-Z0-9_.-]{0,75}. */
int state_check_id(const char *id, struct err *e);

struct state_dir;

/*
 * Make ROOT/ID and lock it. What an owner that is dead left is ended and removed first. -EEXIST when the id is in use.
 */
int state_dir_create(const char *root, const char *id, struct state_dir **ret, struct err *e);
const char *state_dir_path(const struct state_dir *d);
int state_dir_write(struct state_dir *d, const struct pod_state *s, struct err *e);
/* Remove the directory with all it holds and release the lock. NULL does nothing. */
void state_dir_remove(struct state_dir *d);
DEFINE_CLEANUP(struct state_dir *, state_dir_remove)

/* Whether whoever made ROOT/ID lives. */
bool state_dir_is_held(const char *root, const char *id);

/* Read the state of one container. *ret_alive: its owner lives. -ENOENT when there is none of that id. */
int state_read(const char *root, const char *id, struct pod_state *ret, bool *ret_alive, struct err *e);
/* The ids under root, sorted; none when root does not exist. */
int state_list(const char *root, struct strv *ret, struct err *e);
/* End and remove what a dead owner left of this id. 0 also when there is nothing; -EBUSY: the owner lives. */
int state_remove_dead(const char *root, const char *id, struct err *e);
/* End and remove what dead owners left. *ret_removed: ids. Live ones are not touched. */
int state_prune(const char *root, struct strv *ret_removed, struct err *e);

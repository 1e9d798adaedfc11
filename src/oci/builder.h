/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime spec of `caisson run`: what docker would write for the same flags, with two differences. There is no
 * network namespace (the VM's own network is the container's), and no seccomp filter unless one is given: the virtual
 * machine is the wall here, as with Kata's disable_guest_seccomp.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"
#include "oci/spec.h"

/* Zero-initialise, set what is asked for. Strings and vectors are borrowed during the call. */
struct oci_run_options {
	const struct strv *args; /* the command; at least one */
	const struct strv *env;  /* NAME=value; added to the defaults */
	const char *cwd;         /* NULL: / */
	const char *user;        /* "uid[:gid]" or "name[:group]"; NULL: root */
	int rootfs_fd;           /* to look names up in; -1: the host can't see it */
	bool tty, read_only;
	bool privileged; /* as docker's: all capabilities and devices, nothing hidden or read-only; before cap_drop */
	const char *hostname;             /* NULL: left to the sandbox */
	const struct strv *cap_add;       /* "NET_ADMIN", "CAP_NET_ADMIN", "ALL" */
	const struct strv *cap_drop;      /* the same */
	const struct strv *security_opts; /* "seccomp=unconfined|FILE", "no-new-privileges", "systempaths=unconfined" */
	const struct strv *ulimits;       /* "nofile=1024[:2048]"; -1 or unlimited */
	const struct strv *tmpfs;         /* "PATH[:option,…]" */
	uint64_t memory;                  /* bytes; 0: no limit */
	double cpus;                      /* 0: no limit */
	int64_t pids_limit;               /* <= 0: no limit */
	const char *rootfs;               /* root.path; NULL: "rootfs" */
};

int oci_spec_build(const struct oci_run_options *o, Grpc__Spec **ret, struct strv *warnings, struct err *e);

/*
 * Add a mount behind the others, but in front of those below its destination, in place of one that had the same one.
 * type may be NULL for "bind"; options: separated by commas, NULL or "" for none. 0, -EINVAL for a destination that is
 * not absolute, -ENOMEM.
 */
int oci_spec_add_mount(Grpc__Spec *spec, const char *destination, const char *source, const char *type,
		       const char *options);

/* Set root, in place of the one there is. 0 or -ENOMEM. */
int oci_spec_set_root(Grpc__Spec *spec, const char *path, bool readonly);

/* Set an annotation, in place of one of the same name. */
int oci_spec_set_annotation(Grpc__Spec *spec, const char *key, const char *value);
/* The value of an annotation, or NULL. */
const char *oci_spec_annotation(const Grpc__Spec *spec, const char *key);
/* The namespace of a type, of which there is at most one (oci_spec_load()). NULL: none is asked for, the host's is
 * meant. */
const Grpc__LinuxNamespace *oci_spec_namespace(const Grpc__Spec *spec, const char *type);

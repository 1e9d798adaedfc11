/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the OCI commands know of a container beside what its pod's owner tells: ROOT/ID/oci.json, written by the owner
 * when the container is created. It makes `state` work when the owner is dead, and tells such containers from those of
 * `caisson run`.
 */
#pragma once

#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "codec/json.h"
#include "proto/oci.pb-c.h"

struct oci_record {
	char *id, *sandbox; /* sandbox: whose owner has it; the id of the pod's first container */
	char *bundle, *rootfs;
	char *created; /* RFC 3339 */
	char *owner;   /* user */
	char *oci_version;
	struct json_object *annotations;
};

/* bundle: absolute. created and owner are those of this moment and process. */
int oci_record_make(const char *id, const char *sandbox, const char *bundle, const Grpc__Spec *spec,
		    struct oci_record *ret, struct err *e);
int oci_record_write(const struct oci_record *r, const char *dir, struct err *e);
/* -ENOENT "container does not exist", as clients of runc expect it. */
int oci_record_read(const char *root, const char *id, struct oci_record *ret, struct err *e);
void oci_record_fini(struct oci_record *r);
#define _cleanup_oci_record_ __attribute__((cleanup(oci_record_fini)))

/*
 * The state of the OCI runtime spec (runtime.md, "State") with what runc adds: rootfs, created, owner. pid 0: it has
 * ended. owner: "" in what `state` prints, as runc has it. NULL: out of memory.
 */
struct json_object *oci_record_state(const struct oci_record *r, const char *status, pid_t pid, const char *owner);

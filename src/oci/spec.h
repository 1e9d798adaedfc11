/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OCI runtime specification (1.0 to 1.2) in its one in-memory form: the protobuf message that goes to the agent.
 *
 * Everything returned here is freed with oci_spec_free() or, as any message, protobuf_c_message_free_unpacked(m, NULL).
 * Errors name the place: "config.json: process.args[2]: expected a string". Members that the specification does not
 * know are skipped; those it knows and the message cannot carry are told in warnings ("linux.personality has no
 * effect"), which may be NULL.
 *
 * What the message cannot tell apart is settled while reading: an absent device number of a device rule is -1 ("any"),
 * an absent errnoRet is EPERM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"
#include "proto/oci.pb-c.h"

/* The version that specs written by us claim. */
#define OCI_SPEC_VERSION     "1.1.0"
#define OCI_SPEC_VERSION_MIN "1.0.0"
#define OCI_SPEC_VERSION_MAX "1.2.0"

/* In a user's umask: it was given. */
#define OCI_UMASK_GIVEN 01000u

/* origin: how errors call the text. */
int oci_spec_parse(const char *text, size_t len, const char *origin, Grpc__Spec **ret, struct strv *warnings,
		   struct err *e);
/* BUNDLE/config.json. */
int oci_spec_load(const char *bundle, Grpc__Spec **ret, struct strv *warnings, struct err *e);
/* The process object alone (exec --process FILE). */
int oci_spec_parse_process(const char *text, size_t len, const char *origin, Grpc__Process **ret, struct strv *warnings,
			   struct err *e);
/* The linux.resources object alone (update --resources FILE). */
int oci_resources_parse(const char *text, size_t len, const char *origin, Grpc__LinuxResources **ret,
			struct strv *warnings, struct err *e);
/* A linux.seccomp object alone: the OCI form only; oci_seccomp_parse() of oci/seccomp.h reads docker's too. */

/* As config.json, indented, with a newline at the end; freed by the caller. NULL: out of memory. */
char *oci_spec_to_json(const Grpc__Spec *spec);
char *oci_process_to_json(const Grpc__Process *process);
char *oci_resources_to_json(const Grpc__LinuxResources *resources);

void oci_spec_free(Grpc__Spec *spec);
void oci_process_free(Grpc__Process *process);
void oci_resources_free(Grpc__LinuxResources *resources);
DEFINE_CLEANUP(Grpc__Spec *, oci_spec_free)
DEFINE_CLEANUP(Grpc__Process *, oci_process_free)
DEFINE_CLEANUP(Grpc__LinuxResources *, oci_resources_free)
#define _cleanup_spec_ _cleanup_(oci_spec_free_p)

/* Is every device allowed? That is what engines write for privileged containers, and for no others. */
bool oci_spec_is_privileged(const Grpc__Spec *spec);

/* Names without "CAP_" and "RLIMIT_", by capability number and in the alphabet's order. NULL behind the last. */
const char *oci_capability_name(unsigned number);
const char *oci_rlimit_name(unsigned number);

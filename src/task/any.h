/* SPDX-License-Identifier: Apache-2.0 */
/*
 * google.protobuf.Any as containerd uses it: the type's full name alone as URL for messages
 * ("containerd.events.TaskExit"), and names of its own for JSON documents of the runtime spec.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "proto/any.pb-c.h"

#define ANY_OCI_FEATURES  "types.containerd.io/opencontainers/runtime-spec/1/features/Features"
#define ANY_OCI_PROCESS   "types.containerd.io/opencontainers/runtime-spec/1/Process"
#define ANY_OCI_RESOURCES "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
#define ANY_OCI_SPEC      "types.containerd.io/opencontainers/runtime-spec/1/Spec"

/* Whether it holds a message of this type: by its name, with or without "type.googleapis.com/". NULL: no. */
bool any_is_message(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type);
/* Whether its URL is this one. NULL: no. */
bool any_is(const Google__Protobuf__Any *any, const char *url);

/*
 * Pack a message. *ret needs any_fini(), not protobuf-c's functions: its type_url is the descriptor's. 0, -EMSGSIZE or
 * -ENOMEM.
 */
int any_pack(const ProtobufCMessage *message, Google__Protobuf__Any *ret);
void any_fini(Google__Protobuf__Any *any);
#define _cleanup_any_ __attribute__((cleanup(any_fini)))

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests do, by resource. All are handler_fn, called by the router when body, id and phase are right; body is
 * the structure of the route's table, and what a handler leaves in it is freed afterwards.
 */
#pragma once

#include "vmm/router.h"

#define HANDLER(name) void name(struct instance *i, const char *id, void *body, struct answer *a)

/* handlers_machine.c */
HANDLER(get_instance);
HANDLER(get_version);
HANDLER(get_config);
HANDLER(get_machine);
HANDLER(put_machine);
HANDLER(put_boot_source);
HANDLER(put_serial);
HANDLER(put_action);
HANDLER(patch_vm);

/* handlers_device.c */
HANDLER(put_drive);
HANDLER(patch_drive);
HANDLER(delete_drive);
HANDLER(put_pmem);
HANDLER(patch_pmem);
HANDLER(delete_pmem);
HANDLER(put_network_interface);
HANDLER(patch_network_interface);
HANDLER(delete_network_interface);
HANDLER(put_vsock);
HANDLER(put_entropy);

/* handlers_memory.c */
HANDLER(put_balloon);
HANDLER(get_balloon);
HANDLER(patch_balloon);
HANDLER(get_balloon_stats);
HANDLER(patch_balloon_stats);
HANDLER(put_memory_hotplug);
HANDLER(get_memory_hotplug);
HANDLER(patch_memory_hotplug);

/* handlers_output.c */
HANDLER(put_logger);
HANDLER(put_metrics);

/* handlers_snapshot.c */
HANDLER(create_snapshot);
HANDLER(load_snapshot);

/* Looked at before the phase: is there anything in this body that a table cannot tell? false: answered. */
bool check_machine_update(struct instance *i, void *body, struct answer *a);
bool check_machine(struct instance *i, void *body, struct answer *a);
bool check_vsock(struct instance *i, void *body, struct answer *a);
bool check_snapshot_load(struct instance *i, void *body, struct answer *a);

#define CONFIGURATION_UNKNOWN                                                                                          \
	"The configuration of this microVM is not known: its snapshot was not made by this program's API."

/* The answer to what is not allowed now. */
void not_before_start(struct answer *a);
void not_after_start(struct answer *a);
/* The request uses something deprecated: said in the answer, the log and the counters. */
void deprecated(struct instance *i, struct answer *a, const char *text);

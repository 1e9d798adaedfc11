/* SPDX-License-Identifier: Apache-2.0 */
/* One virtual machine of Cloud Hypervisor: what clh_driver.c (its life) and the other clh_*.c (its changes) share. */
#pragma once

#include "base/list.h"
#include "codec/json.h"
#include "hypervisor/clh_config.h"
#include "hypervisor/clh_events.h"
#include "hypervisor/driver.h"
#include "hypervisor/process.h"
#include "hypervisor/rest.h"

/* How long Cloud Hypervisor may take. */
#define CLH_START_MS    60000 /* exec to a running guest, 15 s where the host is emulated; CLH_PREALLOC_MS on top */
#define CLH_PREALLOC_MS 120000
#define CLH_COMMAND_MS  5000
#define CLH_SAVE_MS     120000 /* writing or reading the guest's memory */
#define CLH_VFIO_MS     60000  /* a passed-through device: all guest memory is pinned and mapped for it */
#define CLH_UNPLUG_MS   15000  /* the guest's part of an unplug */

/* What this Cloud Hypervisor is. */
struct clh_facts {
	char path[256];
	unsigned major, minor;
};

/* Something that was plugged in while the VM runs. */
struct clh_hotplugged {
	struct list link;
	char id[33];
	bool gone;     /* the guest let go of it, maybe after we had stopped waiting */
	bool doubtful; /* Cloud Hypervisor did not say that it is there, nor that it is not */
};

struct clh_vm {
	struct vm vm;
	struct loop *loop;
	struct clh_facts facts;
	struct clh_plan plan;
	struct rest rest;
	struct process *process;
	int events_fd;
	struct loop_source *events_source;
	struct buf events; /* an incomplete one */
	struct list hotplugged;
	uint64_t memory_mib; /* what the VM has */
	unsigned unplug_ms;
	bool running;
	bool resetting, panicked, stopped; /* how it came to its end: the guest, the guest, we */
};

struct clh_vm *clh_vm_of(struct vm *vm);

/*
 * A request while the VM runs: "vm.pause". body: JSON, taken over; NULL: none. What fails because Cloud Hypervisor died
 * says how it died. method, ret as in rest_call().
 */
int clh_call(struct clh_vm *q, const char *method, const char *action, struct json_object *body, const int *fds,
	     size_t n_fds, unsigned timeout_ms, char **ret, struct err *e);
int clh_put(struct clh_vm *q, const char *action, struct json_object *body, struct err *e);

/* Take in what the event monitor has, without waiting. */
void clh_drain_events(struct clh_vm *q);

/* clh_start.c: the process, its socket, console and events. */
/* Start Cloud Hypervisor and hear from it. On failure everything is undone. */
int clh_launch(struct clh_vm *q, uint64_t deadline_ms, struct err *e);
/* start() or restore() failed behind clh_launch(): say why in its own words if it has any, and undo. Returns the code.
 */
int clh_launch_failed(struct clh_vm *q, int code, struct err *e);
/* The guest runs: take away what its console was opened by. See clh_start.c. */
void clh_remove_console(struct clh_vm *q);
void clh_stop_all(struct clh_vm *q);

/* clh_probe.c */
int clh_probe(const struct config_hypervisor *hv, bool ask_version, struct clh_facts *ret, struct err *e);
/* "v51.1.0" or "51.1.0" */
int clh_parse_version(const char *text, struct clh_facts *ret);
int clh_check_version(const struct clh_facts *f, struct err *e);
int clh_check(const struct config_hypervisor *hv, struct vm_host_report *ret, struct err *e);
void clh_capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret);
/* Can this kernel confine a process to files (Landlock) as Cloud Hypervisor wants it? */
bool clh_host_has_landlock(void);

/* clh_hotplug.c */
int clh_hotplug_add(struct clh_vm *q, struct vm_device *d, struct err *e);
int clh_hotplug_remove(struct clh_vm *q, const char *id, struct err *e);
/* id: Cloud Hypervisor's: "dev-ID" or "_virtio-pci-dev-ID" */
void clh_hotplug_gone(struct clh_vm *q, const char *id);
void clh_hotplug_fini(struct clh_vm *q);

/* clh_counters.c */
int clh_counters(struct vm *vm, vm_counter_fn fn, void *userdata, struct err *e);

/* clh_resize.c */
int clh_resize_vcpus(struct vm *vm, uint32_t vcpus, uint32_t *ret, struct err *e);
int clh_resize_memory(struct vm *vm, uint64_t mib, uint64_t *ret, struct err *e);
int clh_resize_block(struct vm *vm, const struct vm_device *disk, struct err *e);
int clh_info(struct vm *vm, struct vm_process_info *ret, struct err *e);

/* clh_snapshot.c */
int clh_save(struct vm *vm, const char *dir, struct err *e);
int clh_restore(struct vm *vm, const char *dir, struct err *e);

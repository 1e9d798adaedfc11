/* SPDX-License-Identifier: Apache-2.0 */
/* One Firecracker virtual machine: what fc_driver.c (its life) and fc_slots.c (disks added later) share. */
#pragma once

#include "hypervisor/console.h"
#include "hypervisor/driver.h"
#include "hypervisor/fc_folder.h"
#include "hypervisor/fc_plan.h"
#include "hypervisor/process.h"
#include "hypervisor/rest.h"

/* How long Firecracker may take. */
#define FC_START_MS    60000
#define FC_COMMAND_MS  5000
#define FC_SNAPSHOT_MS 120000 /* guest memory goes to or comes from a disk */

/* A placeholder drive; drive is its number in the plan. */
struct fc_slot {
	size_t drive;
	char device[33]; /* what is attached there; "": nothing */
	char name[48];   /* of its file in the folder */
};

struct fc_version {
	unsigned major, minor;
};

struct fc_vm {
	struct vm vm;
	struct loop *loop;
	char program[256];
	struct fc_plan plan;
	struct fc_folder folder;
	char *api; /* path of the API's socket */
	struct rest rest;
	struct process *process;
	struct console *log, *metrics;
	struct fc_slot slots[2 * FC_SLOTS];
	size_t n_slots;
	unsigned next_name;
	struct fc_version version; /* known once it answers */
	bool running;
};

struct fc_vm *fc_vm_of(struct vm *vm);

/* One request without an answer that matters. What fails because Firecracker ended says how it ended. */
int fc_call(struct fc_vm *f, const char *method, const char *target, const char *body, unsigned timeout_ms,
	    struct err *e);

/* fc_argv.c: the jailer's command line, or Firecracker's */
int fc_argv(const struct vm_config *c, const char *program, struct strv *argv, struct err *e);

/* fc_probe.c */
int fc_find(const struct config_hypervisor *hv, char *ret, size_t size, struct err *e);
/* text: "1.12.1", in front of anything. */
int fc_version_parse(const char *text, struct fc_version *ret);
/* Old versions are refused, with a sentence; and newer ones where hv asks for what they have not. */
int fc_version_check(const struct fc_version *v, const struct config_hypervisor *hv, const char *program,
		     struct err *e);
/* Does it take the MTU of a network card? The agent sets it in any case. */
bool fc_version_has_mtu(const struct fc_version *v);
int fc_check_files(const struct vm_config *c, struct err *e);
int fc_check(const struct config_hypervisor *hv, struct vm_host_report *ret, struct err *e);
void fc_capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret);

/* fc_slots.c: disks of a running VM */
void fc_slots_init(struct fc_vm *f);
int fc_slots_add(struct fc_vm *f, struct vm_device *device, struct err *e);
int fc_slots_remove(struct fc_vm *f, const char *id, struct err *e);
/* The file of a disk, plugged in or there from the start, has another size. */
int fc_slots_resize(struct fc_vm *f, const char *id, struct err *e);

/* fc_end.c: how it ended */
int fc_explain_exit(struct vm *vm, struct err *e);
/* start() failed with code: the process's or the log's last words join the message. Returns -e->code. */
int fc_explain_start(struct fc_vm *f, int code, struct err *e);

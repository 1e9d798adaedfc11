/* SPDX-License-Identifier: Apache-2.0 */
/* One StratoVirt virtual machine: what the stratovirt_*.c files share. */
#pragma once

#include "base/list.h"
#include "hypervisor/driver.h"
#include "hypervisor/inherit.h"
#include "hypervisor/qmp_vmm.h"
#include "hypervisor/stratovirt_argv.h"

/* How long StratoVirt may take. */
#define STRATOVIRT_START_MS                                                                                            \
	60000 /* exec to QMP greeting: it loads kernel and initrd, and starts the guest, before that */
#define STRATOVIRT_PREALLOC_MS 120000 /* on top, when it takes all memory beforehand */
#define STRATOVIRT_COMMAND_MS  5000
/* Unplugging needs the guest's cooperation; PCIe's attention button alone waits 5 s. */
#define STRATOVIRT_UNPLUG_MS 15000

/* A disk or network card that was plugged in while the VM runs; StratoVirt knows it as "dev-ID". */
struct stratovirt_plugged {
	struct list link;
	char id[33];
	bool disk;
	int place;     /* microvm: of its kind; else the root port */
	bool gone;     /* DEVICE_DELETED came */
	bool doubtful; /* StratoVirt was asked for it and did not answer in time: it may be there */
};

struct stratovirt_vm {
	struct vm vm;
	struct loop *loop;
	struct stratovirt_facts facts;
	struct stratovirt_plan plan;
	int vsock_fd; /* until StratoVirt has it */
	uint32_t guest_cid;
	struct inherit inherit; /* tap queues */
	struct qmp_vmm vmm;
	struct list plugged;
	unsigned next_fd;
	unsigned unplug_ms, command_ms;
	bool running, paused, reset;
};

struct stratovirt_vm *stratovirt_vm_of(struct vm *vm);

/* Run a QMP command; what fails because StratoVirt died says how it died. args as in qmp_execute(). */
int stratovirt_command(struct stratovirt_vm *s, const char *command, struct json_object *args, int fd,
		       struct json_object **ret, struct err *e);

/* stratovirt_probe.c */
/* Where the program is; the version comes later. */
int stratovirt_find(const struct config_hypervisor *hv, struct stratovirt_facts *ret, struct err *e);
/* version: "2.5.0", in front of anything. -EPROTO without a message when it is none; old ones are refused. */
int stratovirt_take_version(struct stratovirt_facts *f, const char *version, struct err *e);
/* Ask the program: one more process, for those who do not start it anyway. */
int stratovirt_ask_version(struct stratovirt_facts *f, struct err *e);
int stratovirt_check(const struct config_hypervisor *hv, struct vm_host_report *ret, struct err *e);
void stratovirt_capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret);
/* Is the guest's kernel one that StratoVirt can load itself (without firmware)? */
int stratovirt_check_kernel(const struct vm_config *c, const char *arch, struct err *e);

/* stratovirt_plug.c: add_device and remove_device of a running VM */
int stratovirt_plug(struct stratovirt_vm *s, struct vm_device *device, struct err *e);
int stratovirt_unplug(struct stratovirt_vm *s, const char *id, struct err *e);
void stratovirt_plugged_event(struct stratovirt_vm *s, const char *event, struct json_object *data);
void stratovirt_plugged_fini(struct stratovirt_vm *s);

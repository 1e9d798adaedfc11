/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMM that is a process and is driven over QMP (QEMU, StratoVirt): its monitor, and how its end is told.
 *
 * The driver owns one in its VM, starts `process` and connects the monitor. One thread, the VM owner's.
 */
#pragma once

#include "codec/qmp.h"
#include "hypervisor/driver.h"
#include "hypervisor/process.h"

struct qmp_vmm {
	const char *name;        /* "QEMU", for messages */
	struct process *process; /* NULL: never started */
	struct qmp *qmp;         /* NULL: no monitor */
	struct loop_source *source;
	bool panicked;
	char shutdown_reason[32]; /* of the SHUTDOWN event: "guest-reset", "host-qmp-quit" … */
};

/*
 * Take over the monitor's connection (*fd becomes -1), greet, and have events delivered to fn from the loop. fn should
 * call qmp_vmm_note_event(). On failure call qmp_vmm_start_failed() with what this returns.
 */
int qmp_vmm_open(struct qmp_vmm *v, struct loop *loop, int *fd, qmp_event_fn fn, void *userdata, uint64_t deadline_ms,
		 struct err *e);

/* Remember what an event says of the guest's end. True: it was one of these. */
bool qmp_vmm_note_event(struct qmp_vmm *v, const char *event, struct json_object *data);

/* Run a command; what fails because the VMM died says how it died. The others as qmp_execute(). */
int qmp_vmm_command(struct qmp_vmm *v, struct vm *vm, const char *command, struct json_object *args, int fd,
		    uint64_t timeout_ms, struct json_object **ret, struct err *e);

/* start() failed with code: was it the VMM that ended? Then its words are the reason. Undoes all of start(). */
int qmp_vmm_start_failed(struct qmp_vmm *v, struct vm *vm, const char *path, int code, struct err *e);

/*
 * For driver.info(): the VMM's process, and the threads of its vCPUs as `command` tells them, each under `thread_key`.
 * timeout_ms: of the command.
 */
int qmp_vmm_info(struct qmp_vmm *v, struct vm *vm, const char *command, const char *thread_key, uint64_t timeout_ms,
		 struct vm_process_info *ret, struct err *e);

/* For driver.explain_exit(). */
int qmp_vmm_explain_exit(struct qmp_vmm *v, struct vm *vm, struct err *e);

/* Ask it to quit, if it has a monitor, and wait a moment. */
void qmp_vmm_quit(struct qmp_vmm *v);
/* End the process, by SIGKILL if need be; its words and the console stay readable. */
void qmp_vmm_end(struct qmp_vmm *v);
/* The same, and forget everything. */
void qmp_vmm_fini(struct qmp_vmm *v);

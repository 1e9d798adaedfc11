/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/qmp_vmm.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/strv.h"
#include "hypervisor/console.h"

static void on_readable(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct qmp_vmm *v = userdata;

	/* Broken or closed: nothing more to read. That the VMM ended is told by exit_fd, not here. */
	if (qmp_dispatch(v->qmp) < 0) {
		loop_source_free(v->source);
		v->source = NULL;
	}
}

int qmp_vmm_open(struct qmp_vmm *v, struct loop *loop, int *fd, qmp_event_fn fn, void *userdata, uint64_t deadline_ms,
		 struct err *e)
{
	int r = qmp_new(*fd, fn, userdata, &v->qmp);

	if (r < 0)
		return err_sys(e, -r, "monitor");
	*fd = -1;
	r = qmp_handshake(v->qmp, deadline_ms, e);
	if (r < 0)
		return r;
	r = loop_add_io(loop, qmp_fd(v->qmp), EPOLLIN, on_readable, v, &v->source);
	return r < 0 ? err_sys(e, -r, "monitor") : 0;
}

bool qmp_vmm_note_event(struct qmp_vmm *v, const char *event, struct json_object *data)
{
	const char *reason;

	if (str_eq(event, "GUEST_PANICKED") || str_eq(event, "GUEST_CRASHLOADED")) {
		v->panicked = true;
	} else if (str_eq(event, "SHUTDOWN")) {
		reason = json_get_str(data, "reason");
		snprintf(v->shutdown_reason, sizeof v->shutdown_reason, "%s", reason ? reason : "unknown");
	} else {
		return false;
	}
	return true;
}

int qmp_vmm_command(struct qmp_vmm *v, struct vm *vm, const char *command, struct json_object *args, int fd,
		    uint64_t timeout_ms, struct json_object **ret, struct err *e)
{
	int r;

	if (!v->qmp) {
		json_free(args);
		return err_set(e, ERR_HYPERVISOR, ENOTCONN, "%s: the VM is not running", command);
	}
	r = qmp_execute(v->qmp, command, args, fd, clock_ms() + timeout_ms, ret, e);
	if (r == -EPIPE && process_wait(v->process, clock_ms() + PROCESS_END_MS) == 0) {
		r = vm_explain_exit(vm, e);
		err_wrap(e, "%s", command);
		return r;
	}
	if (r < 0)
		err_wrap(e, "%s", v->name);
	return r;
}

int qmp_vmm_info(struct qmp_vmm *v, struct vm *vm, const char *command, const char *thread_key, uint64_t timeout_ms,
		 struct vm_process_info *ret, struct err *e)
{
	_cleanup_json_ struct json_object *cpus = NULL;
	int r = qmp_vmm_command(v, vm, command, NULL, -1, timeout_ms, &cpus, e);

	if (r < 0)
		return r;
	*ret = (struct vm_process_info){ .vmm_pid = process_pid(v->process) };
	for (size_t i = 0; i < json_array_len(cpus) && ret->n_vcpus < 64; i++) {
		uint64_t tid;

		if (json_get_u64(json_array_at(cpus, i), thread_key, &tid) == 0 && tid <= INT32_MAX)
			ret->vcpu_tids[ret->n_vcpus++] = (pid_t)tid;
	}
	return 0;
}

int qmp_vmm_start_failed(struct qmp_vmm *v, struct vm *vm, const char *path, int code, struct err *e)
{
	char how[96], words[512];

	if (code == -EPIPE && process_wait(v->process, clock_ms() + 1000) == 0) {
		process_describe(v->process, how, sizeof how);
		process_last_words(v->process, words, sizeof words);
		err_set(e, ERR_HYPERVISOR, EIO, "%s (%s) did not start: %s%s%s", v->name, path, how,
			words[0] ? ": " : "", words);
	} else {
		process_last_words(v->process, words, sizeof words);
		err_wrap(e, "%s (%s) did not start", v->name, path);
		if (words[0])
			err_append(e, "; it printed: %s", words);
	}
	qmp_vmm_fini(v);
	console_free(vm->console);
	vm->console = NULL;
	vm->exit_fd = -1;
	return err_is_set(e) ? -e->code : code;
}

int qmp_vmm_explain_exit(struct qmp_vmm *v, struct vm *vm, struct err *e)
{
	char how[96], words[512];
	const char *panic;
	int status;

	if (v->qmp)
		qmp_dispatch(v->qmp);
	console_drain(vm->console);
	if (!v->process)
		return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM is not running");
	/* The pidfd is readable when the process is a zombie; being reaped is a moment away at most. */
	process_wait(v->process, clock_ms() + 200);
	process_describe(v->process, how, sizeof how);
	process_last_words(v->process, words, sizeof words);
	status = process_status(v->process);
	panic = console_find(vm->console, "Kernel panic");
	if (panic || v->panicked)
		return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest kernel panicked: %s",
			       panic ? panic : "no message on the console");
	if (process_ended(v->process) && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		if (str_eq(v->shutdown_reason, "guest-reset"))
			return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest rebooted or crashed (reset)");
		if (str_eq(v->shutdown_reason, "guest-shutdown"))
			return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest powered off");
	}
	return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM ended: %s%s%s%s", how, words[0] ? " (" : "", words,
		       words[0] ? ")" : "");
}

void qmp_vmm_quit(struct qmp_vmm *v)
{
	if (!process_ended(v->process) && v->qmp &&
	    qmp_execute(v->qmp, "quit", NULL, -1, clock_ms() + 500, NULL, NULL) == 0)
		process_wait(v->process, clock_ms() + 1000);
	if (v->qmp)
		qmp_dispatch(v->qmp);
}

void qmp_vmm_end(struct qmp_vmm *v)
{
	if (v->process)
		process_stop(v->process, 0);
	loop_source_free(v->source);
	v->source = NULL;
}

void qmp_vmm_fini(struct qmp_vmm *v)
{
	qmp_vmm_end(v);
	qmp_free(v->qmp);
	v->qmp = NULL;
	process_free(v->process);
	v->process = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How a Firecracker ended, or why it did not start, in its own words where it left any. */
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "hypervisor/fc_vm.h"

/* Exit statuses of its own (src/vmm/src/lib.rs, FcExitCode), as clauses. */
static const struct {
	int status;
	const char *meaning;
} statuses[] = {
	{ 148, "its system call filter stopped it" },
	{ 149, "bus error: is a disk or the memory file shorter than it was?" },
	{ 150, "segmentation fault" },
	{ 151, "a file grew beyond its limit" },
	{ 152, "bad configuration" },
	{ 153, "it does not know an argument" },
	{ 154, "out of CPU time" },
	{ 157, "illegal instruction" },
};

static void describe(struct fc_vm *f, char *text, size_t size)
{
	int status = process_ended(f->process) ? process_status(f->process) : 0;
	size_t n;

	process_describe(f->process, text, size);
	for (size_t i = 0; WIFEXITED(status) && i < sizeof statuses / sizeof *statuses; i++)
		if (WEXITSTATUS(status) == statuses[i].status) {
			n = strlen(text);
			snprintf(text + n, size - n, " (%s)", statuses[i].meaning);
		}
}

/* What it printed, or else the end of its log. */
static void last_words(struct fc_vm *f, char *text, size_t size)
{
	process_last_words(f->process, text, size);
	if (text[0])
		return;
	console_drain(f->log);
	console_last_lines(f->log, 3, text, size);
}

int fc_explain_exit(struct vm *vm, struct err *e)
{
	struct fc_vm *f = fc_vm_of(vm);
	char how[160], words[512];
	const char *panic;
	int status;

	console_drain(vm->console);
	if (!f->process)
		return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM is not running");
	/* The pidfd is readable when the process is a zombie; being reaped is a moment away at most. */
	process_wait(f->process, clock_ms() + 200);
	console_drain(vm->console);
	panic = console_find(vm->console, "Kernel panic");
	if (panic)
		return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest kernel panicked: %s", panic);
	status = process_status(f->process);
	if (process_ended(f->process) && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return err_set(e, ERR_GUEST, EOWNERDEAD,
			       "the VM ended: the guest powered off, rebooted or crashed (reset)");
	describe(f, how, sizeof how);
	last_words(f, words, sizeof words);
	return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM ended: %s%s%s", how, words[0] ? ": " : "", words);
}

int fc_explain_start(struct fc_vm *f, int code, struct err *e)
{
	char how[160], words[512] = "";

	if (code == -EPIPE && process_wait(f->process, clock_ms() + 1000) == 0) {
		describe(f, how, sizeof how);
		last_words(f, words, sizeof words);
		return err_set(e, ERR_HYPERVISOR, EIO, "Firecracker (%s) did not start: %s%s%s", f->program, how,
			       words[0] ? ": " : "", words);
	}
	if (code == -ECANCELED)
		return err_set(e, ERR_SYSTEM, ECANCELED, "interrupted while Firecracker was starting");
	/* A refusal says all that there is to say. */
	if (f->process && code != -EREMOTEIO)
		last_words(f, words, sizeof words);
	err_wrap(e, "Firecracker (%s) did not start", f->program);
	if (words[0])
		err_append(e, "; it printed: %s", words);
	return err_is_set(e) ? -e->code : code;
}

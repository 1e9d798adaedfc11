/* SPDX-License-Identifier: Apache-2.0 */
/* How a VM ended, in words for a person: what happened, and the last lines of the console. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vm/machine.h"

/* Append the last lines of the console that fit, on one line each behind " | ". Control characters become spaces. */
static void add_console(struct vmm *vm, char *text, size_t size)
{
	char tail[512];
	size_t len = board_console_tail(vm->board, tail, sizeof tail), used = strlen(text), room;
	const char *from = tail;

	while (len && strchr("\r\n ", tail[len - 1]))
		tail[--len] = '\0';
	room = size - used - 32;
	if (!len || size < used + 64)
		return;
	if (len > room)
		from += len - room;
	/* Begin with a whole line, when the beginning is cut off. */
	if (from != tail || len + 1 == sizeof tail) {
		const char *line = strchr(from, '\n');

		from = line ? line + 1 : from;
	}
	used += (size_t)snprintf(text + used, size - used, "%sconsole: ", used ? "; " : "");
	for (; *from && used + 4 < size; from++) {
		if (*from == '\n')
			used += (size_t)snprintf(text + used, size - used, " | ");
		else if ((unsigned char)*from >= ' ' && *from != 0x7f)
			text[used++] = *from;
	}
	text[used] = '\0';
}

void machine_end(struct vmm *vm, enum vmm_end end, bool console, const char *why)
{
	struct vmm_exit exit = { .end = end };
	uint64_t one = 1;

	loop_enter(vm->loop);
	snprintf(exit.text, sizeof exit.text, "%s", why);
	if (vm->board)
		board_console_flush(vm->board);
	pthread_mutex_lock(&vm->lock);
	if (vm->panicked && (end == VMM_END_RESET || end == VMM_END_POWEROFF)) {
		exit.end = VMM_END_PANIC;
		console = true;
	}
	if (vm->exit.end == VMM_END_NONE) {
		if (console && vm->board)
			add_console(vm, exit.text, sizeof exit.text);
		vm->exit = exit;
		vm->state = VMM_ENDED;
		if (write(vm->exit_fd, &one, sizeof one) < 0) {
			/* Cannot happen: the counter is 0. */
		}
	}
	pthread_mutex_unlock(&vm->lock);
	vcpus_want(vm, VCPU_PAUSE, false);
	loop_leave(vm->loop);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How a VM ended, in words for a person: what happened, and the last lines of the console. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hw/serial.h"
#include "vm/machine.h"

/* Where to begin in len bytes of console when at most room of them fit: at a panic, else with a whole line. */
static const char *interesting(const char *tail, size_t len, size_t room)
{
	const char *panic = NULL, *from = tail, *line;

	for (const char *p = tail; (p = strstr(p, "Kernel panic - ")); p++)
		panic = p;
	if (panic)
		return panic;
	if (len <= room)
		return from;
	from += len - room;
	line = strchr(from, '\n');
	return line ? line + 1 : from;
}

/* Append the console's last words, as far as they fit; lines become " | ", control characters go. */
static void add_console(struct vmm *vm, char *text, size_t size)
{
	char tail[SERIAL_TAIL + 1];
	size_t len = board_console_tail(vm->board, tail, sizeof tail), used = strlen(text);
	const char *from;

	while (len && strchr("\r\n ", tail[len - 1]))
		tail[--len] = '\0';
	if (!len || size < used + 64)
		return;
	/* Not more than some lines, and two more bytes for each of them. */
	from = interesting(tail, len, size - used - 64 < 400 ? size - used - 64 : 400);
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

void machine_panicked(struct vmm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->panicked = true;
	pthread_mutex_unlock(&vm->lock);
}

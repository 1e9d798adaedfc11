/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one VM by the public interface of the built-in monitor and reports how it ended.
 *
 *   vmm-boot [--vcpus N[/MAX]] [--memory MIB] [--shared] [--constant] [--cloud] [--disk FILE] [--vsock SOCKET]
 *            [--initrd FILE] [--tap NAME] [--cmdline TEXT] [--do ACTION]... KERNEL
 *   vmm-boot --restore DIR [--disk FILE] [--vsock SOCKET] [--tap NAME] [--do ACTION]...
 *
 * The guest's serial port is our standard output and input. Each time when the guest has written "vmm-boot: now" to its
 * console, the next ACTION is done: power-button, ctrl-alt-del, pause (and resume, some times), cpus=N, plug=FILE (a
 * disk), unplug (that disk), snapshot=DIR (and stop), save=DIR (and go on). On standard error it tells how long that
 * and the start took; --constant promises that the kernel's file does not change. The last line on standard error is
 * "end: KIND: TEXT". Exit status: 0 once the VM ended by itself, else 1.
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "caisson/vmm.h"

static const char *const ends[] = { "none", "poweroff", "reset", "panic", "stopped", "error" };
static const char cue[] = "vmm-boot: now";

/* Into DIR/state and DIR/memory. Prints how long the guest stood still. */
static int save(struct vmm *vm, const char *dir, bool go_on, struct err *e)
{
	char state[256], memory[256];
	uint64_t begin = clock_us();
	int r = vmm_pause(vm, e);

	snprintf(state, sizeof state, "%s/state", dir);
	snprintf(memory, sizeof memory, "%s/memory", dir);
	if (r == 0)
		r = vmm_snapshot(vm, &(struct vmm_snapshot){ state, memory, false }, e);
	if (r == 0)
		fprintf(stderr, "saved in %llu us\n", (unsigned long long)(clock_us() - begin));
	if (r == 0 && go_on)
		return vmm_resume(vm, e);
	if (r == 0)
		vmm_stop(vm);
	return r;
}

static int act(struct vmm *vm, const char *action, struct err *e)
{
	uint32_t n;
	int r;

	if (!strcmp(action, "power-button"))
		return vmm_power_button(vm, e);
	if (!strcmp(action, "ctrl-alt-del"))
		return vmm_ctrl_alt_del(vm, e);
	if (!strncmp(action, "cpus=", 5)) {
		r = vmm_set_vcpus(vm, (uint32_t)atoi(action + 5), &n, e);
		fprintf(stderr, "vcpus: %u\n", r == 0 ? n : 0);
		return r;
	}
	if (!strncmp(action, "plug=", 5))
		return vmm_add_block(vm, "plugged", &(struct vmm_block){ .fd = -1, .path = action + 5 }, e);
	if (!strncmp(action, "snapshot=", 9))
		return save(vm, action + 9, false, e);
	if (!strncmp(action, "save=", 5))
		return save(vm, action + 5, true, e);
	if (!strcmp(action, "unplug"))
		return vmm_remove(vm, "plugged", 60000, e);
	if (strcmp(action, "pause") != 0)
		return err_set(e, ERR_CONFIG, EXIT_FAILURE, "unknown action %s", action);
	for (int i = 0; i < 20; i++) {
		r = vmm_pause(vm, e);
		if (r == 0)
			r = vmm_resume(vm, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Copy the console to standard output until the VM ends. True: the cue was seen. */
static bool copy_console(int from, int exit_fd, bool *ended)
{
	struct pollfd fds[2] = { { .fd = from, .events = POLLIN }, { .fd = exit_fd, .events = POLLIN } };
	static char seen[8192];
	static size_t len;

	for (;;) {
		ssize_t n;

		if (poll(fds, 2, -1) < 0)
			return false;
		if (fds[0].revents & POLLIN) {
			if (len > sizeof seen / 2) {
				memmove(seen, seen + len - sizeof cue, sizeof cue);
				len = sizeof cue;
			}
			n = read(from, seen + len, sizeof seen - 1 - len);
			if (n > 0 && write(STDOUT_FILENO, seen + len, (size_t)n) == n) {
				len += (size_t)n;
				seen[len] = '\0';
			}
			if (strstr(seen, cue)) {
				len = 0;
				seen[0] = '\0';
				return true;
			}
			continue;
		}
		if (fds[1].revents) {
			*ended = true;
			return false;
		}
	}
}

struct wishes {
	const char *vsock, *disk, *tap, *restore;
	const char *actions[8];
	unsigned n_actions;
};

static int add_devices(struct vmm *vm, const struct wishes *w, struct err *e)
{
	struct vmm_block disk = { .fd = -1, .path = w->disk, .io_uring = true, .own_thread = true };
	struct vmm_vsock vsock = { .cid = 3, .uds_path = w->vsock };
	int r = vmm_add_rng(vm, "rng", NULL, e);

	if (r == 0 && w->disk)
		r = vmm_add_block(vm, "disk", &disk, e);
	if (r == 0 && w->vsock)
		r = vmm_add_vsock(vm, "vsock", &vsock, e);
	if (r == 0 && w->tap)
		r = vmm_add_net(vm, "net", &(struct vmm_net){ .tap = w->tap }, e);
	return r;
}

/* How long it took until the guest ran, and the CPU time of this process since its beginning. */
static void tell_start(uint64_t begin)
{
	struct timespec cpu;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	fprintf(stderr, "started in %llu us, %llu CPU us\n", (unsigned long long)(clock_us() - begin),
		(unsigned long long)cpu.tv_sec * 1000000 + (unsigned long long)cpu.tv_nsec / 1000);
}

static int start(const struct vmm_config *c, const struct wishes *w, struct vmm **ret, struct err *e)
{
	uint64_t begin = clock_us();
	int r = vmm_new(c, ret, e);

	if (r == 0)
		r = add_devices(*ret, w, e);
	if (r == 0)
		r = vmm_start(*ret, e);
	if (r == 0)
		tell_start(begin);
	return r;
}

static int restore(const struct vmm_config *c, const struct wishes *w, struct vmm **ret, struct err *e)
{
	const struct vmm_override wanted[] = { { "disk", w->disk }, { "vsock", w->vsock }, { "net", w->tap } };
	struct vmm_override overrides[3];
	char state[256], memory[256];
	struct vmm_restore n = { .state_path = state,
				 .memory_path = memory,
				 .serial_in = c->serial_in,
				 .serial_out = c->serial_out,
				 .seccomp = c->seccomp,
				 .overrides = overrides };
	uint64_t begin = clock_us();
	int r;

	for (size_t i = 0; i < 3; i++)
		if (wanted[i].path)
			overrides[n.n_overrides++] = wanted[i];
	snprintf(state, sizeof state, "%s/state", w->restore);
	snprintf(memory, sizeof memory, "%s/memory", w->restore);
	r = vmm_restore(&n, ret, e);
	if (r == 0)
		r = vmm_resume(*ret, e);
	if (r == 0)
		fprintf(stderr, "restored in %llu us\n", (unsigned long long)(clock_us() - begin));
	return r;
}

static int run(const struct vmm_config *c, int console, const struct wishes *w, struct err *e)
{
	struct vmm_exit exit;
	struct vmm *vm = NULL;
	bool ended = false;
	unsigned next = 0;
	int r = w->restore ? restore(c, w, &vm, e) : start(c, w, &vm, e);

	while (r == 0 && !ended)
		if (copy_console(console, vmm_exit_fd(vm), &ended) && next < w->n_actions)
			r = act(vm, w->actions[next++], e);
	if (r == 0) {
		vmm_exit_info(vm, &exit);
		fprintf(stderr, "end: %s: %s\n", ends[exit.end], exit.text);
		r = exit.end == VMM_END_ERROR ? -1 : 0;
	} else {
		fprintf(stderr, "vmm-boot: %s\n", e->text);
	}
	vmm_free(vm);
	return r;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "vcpus", required_argument, NULL, 'v' },
		{ "memory", required_argument, NULL, 'm' },
		{ "shared", no_argument, NULL, 's' },
		{ "initrd", required_argument, NULL, 'i' },
		{ "cmdline", required_argument, NULL, 'c' },
		{ "do", required_argument, NULL, 'd' },
		{ "vsock", required_argument, NULL, 'k' },
		{ "cloud", no_argument, NULL, 'p' },
		{ "disk", required_argument, NULL, 'b' },
		{ "tap", required_argument, NULL, 't' },
		{ "restore", required_argument, NULL, 'r' },
		{ "constant", no_argument, NULL, 'f' },
		{ 0 },
	};
	struct vmm_config c = {
		.vcpus = 1, .memory = 256ULL << 20, .serial_in = STDIN_FILENO, .name = "boot", .seccomp = true
	};
	struct wishes w = { 0 };
	struct err e = { 0 };
	int opt, console[2];

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'v')
			sscanf(optarg, "%u/%u", &c.vcpus, &c.max_vcpus);
		else if (opt == 'm')
			c.memory = strtoull(optarg, NULL, 10) << 20;
		else if (opt == 's')
			c.shared_memory = true;
		else if (opt == 'i')
			c.initrd = optarg;
		else if (opt == 'c')
			c.cmdline = optarg;
		else if (opt == 'd')
			w.actions[w.n_actions++ % 8] = optarg;
		else if (opt == 'k')
			w.vsock = optarg;
		else if (opt == 'b')
			w.disk = optarg;
		else if (opt == 't')
			w.tap = optarg;
		else if (opt == 'r')
			w.restore = optarg;
		else if (opt == 'f')
			c.kernel_constant = true;
		else if (opt == 'p')
			c.shape = VMM_SHAPE_CLOUD;
		else
			return 2;
	}
	if (optind + !w.restore != argc || pipe(console) < 0) {
		fprintf(stderr, "usage: vmm-boot [OPTION...] KERNEL, or vmm-boot [OPTION...] --restore DIR\n");
		return 2;
	}
	c.kernel = argv[optind];
	c.serial_out = console[1];
	return run(&c, console[0], &w, &e) < 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one VM by the public interface of the built-in monitor and reports how it ended.
 *
 *   vmm-boot [--vcpus N[/MAX]] [--memory MIB] [--shared] [--constant] [--split] [--cloud] [--disk FILE]
 *            [--vsock SOCKET] [--initrd FILE] [--tap NAME] [--fs SOCKET] [--room MIB] [--balloon] [--cmdline TEXT]
 *            [--answer] [--do ACTION]... KERNEL
 *   vmm-boot --restore DIR [--disk FILE] [--vsock SOCKET] [--tap NAME] [--answer] [--do ACTION]...
 *
 * --fs: a vhost-user server, whose folder has the tag "share"; --room: of virtio-mem, none of it plugged; --balloon:
 * with all that it can do; --constant promises that the kernel's file does not change.
 *
 * The guest's serial port is our standard output and input. Each time when the guest has written "vmm-boot: now" to its
 * console, the next ACTION is done; with --answer the guest hears of each by a line of input, instead of our standard
 * input. The actions are in the table below; one that cannot be done ends us. How long the start and
 * an action took is told on standard error. The last line on standard error is "end:
 * KIND: TEXT". Exit status: 0 once the VM ended by itself, else 1.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "caisson/vmm.h"

static const char *const ends[] = { "none", "poweroff", "reset", "panic", "stopped", "error" };
static const char cue[] = "vmm-boot: now";

#define MIB         (1ULL << 20)
#define ACTIONS_MAX 32
#define PATIENCE_MS 120000 /* with what the guest does by itself */

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

/* ---- actions ---- */

static int do_power_button(struct vmm *vm, const char *arg, struct err *e)
{
	return vmm_power_button(vm, e);
}

static int do_ctrl_alt_del(struct vmm *vm, const char *arg, struct err *e)
{
	return vmm_ctrl_alt_del(vm, e);
}

static int do_pause(struct vmm *vm, const char *arg, struct err *e)
{
	int r = 0;

	for (int i = 0; i < 20 && r == 0; i++) {
		r = vmm_pause(vm, e);
		if (r == 0)
			r = vmm_resume(vm, e);
	}
	return r;
}

static int do_cpus(struct vmm *vm, const char *arg, struct err *e)
{
	uint32_t n;
	int r = vmm_set_vcpus(vm, (uint32_t)atoi(arg), &n, e);

	fprintf(stderr, "vcpus: %u\n", r == 0 ? n : 0);
	return r;
}

static int do_plug(struct vmm *vm, const char *arg, struct err *e)
{
	return vmm_add_block(vm, "plugged", &(struct vmm_block){ .fd = -1, .path = arg }, e);
}

static int do_unplug(struct vmm *vm, const char *arg, struct err *e)
{
	return vmm_remove(vm, "plugged", 60000, e);
}

/* The disk's file gets another MiB, with a word at its end. */
static int do_grow(struct vmm *vm, const char *path, struct err *e)
{
	FILE *f = fopen(path, "a");

	if (!f || fprintf(f, "%1048576s", "end") < 0 || fclose(f) < 0)
		return err_sys(e, errno, "cannot write to %s", path);
	return vmm_update_block(vm, "disk", path, NULL, e);
}

static int do_plug_net(struct vmm *vm, const char *arg, struct err *e)
{
	return vmm_add_net(vm, "plugged", &(struct vmm_net){ .tap = arg }, e);
}

static int do_snapshot(struct vmm *vm, const char *arg, struct err *e)
{
	return save(vm, arg, false, e);
}

static int do_save(struct vmm *vm, const char *arg, struct err *e)
{
	return save(vm, arg, true, e);
}

/* Wait until a number of MiB has come to what it should be. */
static int wait_for(const char *what, struct vmm *vm, long (*now)(struct vmm *vm), long least, long most, struct err *e)
{
	uint64_t begin = clock_ms();
	long n;

	for (;;) {
		n = now(vm);
		if (n >= least && n <= most)
			break;
		if (clock_ms() - begin > PATIENCE_MS)
			return err_set(e, ERR_GUEST, ETIMEDOUT, "%s: %ld MiB, not %ld to %ld", what, n, least, most);
		poll(NULL, 0, 100);
	}
	fprintf(stderr, "%s: %ld MiB\n", what, n);
	return 0;
}

static long balloon_now(struct vmm *vm)
{
	struct vmm_balloon_stats s;

	return vmm_balloon_stats(vm, &s, NULL) < 0 ? -1 : (long)(s.actual / MIB);
}

static long plugged_now(struct vmm *vm)
{
	struct vmm_memory_status s;

	return vmm_memory_status(vm, &s, NULL) < 0 ? -1 : (long)(s.plugged / MIB);
}

static long resident_now(struct vmm *vm)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = -1;

	if (f && fscanf(f, "%*d %ld", &pages) != 1)
		pages = -1;
	if (f)
		fclose(f);
	return pages < 0 ? -1 : pages * sysconf(_SC_PAGESIZE) / (long)MIB;
}

static int do_balloon(struct vmm *vm, const char *arg, struct err *e)
{
	int r = vmm_set_balloon(vm, (uint64_t)atol(arg) * MIB, e);

	return r < 0 ? r : wait_for("balloon", vm, balloon_now, atol(arg), atol(arg), e);
}

static int do_deflated(struct vmm *vm, const char *arg, struct err *e)
{
	return wait_for("balloon", vm, balloon_now, 0, atol(arg) - 1, e);
}

static int do_memory(struct vmm *vm, const char *arg, struct err *e)
{
	int r = vmm_set_memory(vm, (uint64_t)atol(arg) * MIB, e);

	return r < 0 ? r : wait_for("plugged", vm, plugged_now, atol(arg), atol(arg), e);
}

/* The most that we ever had. */
static long peak_now(struct vmm *vm)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) < 0 ? -1 : usage.ru_maxrss / 1024;
}

static int do_peaked(struct vmm *vm, const char *arg, struct err *e)
{
	return wait_for("peak", vm, peak_now, atol(arg), LONG_MAX, e);
}

static int do_at_most(struct vmm *vm, const char *arg, struct err *e)
{
	return wait_for("resident", vm, resident_now, 0, atol(arg), e);
}

static const struct action {
	const char *name; /* with '=' when it takes an argument */
	int (*fn)(struct vmm *vm, const char *arg, struct err *e);
} actions[] = {
	{ "power-button", do_power_button },
	{ "ctrl-alt-del", do_ctrl_alt_del },
	{ "pause", do_pause },        /* and resume, some times */
	{ "cpus=", do_cpus },         /* N */
	{ "plug=", do_plug },         /* FILE: a disk */
	{ "plug-net=", do_plug_net }, /* TAP */
	{ "unplug", do_unplug },      /* what was plugged */
	{ "grow=", do_grow },         /* FILE: that of the disk */
	{ "snapshot=", do_snapshot }, /* DIR: and stop */
	{ "save=", do_save },         /* DIR: and go on */
	{ "balloon=", do_balloon },   /* MIB: and wait until the guest has given as much */
	{ "deflated=", do_deflated }, /* MIB: it is smaller now, by the guest's own will */
	{ "memory=", do_memory },     /* MIB: and wait until the guest has plugged or unplugged it */
	{ "peaked=", do_peaked },     /* MIB: we had as much of the host's memory once */
	{ "at-most=", do_at_most },   /* MIB: wait until we have no more of it */
};

static int act(struct vmm *vm, const char *text, struct err *e)
{
	for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
		size_t n = strlen(actions[i].name);
		bool takes = actions[i].name[n - 1] == '=';

		if (takes ? !strncmp(text, actions[i].name, n) : !strcmp(text, actions[i].name))
			return actions[i].fn(vm, text + n, e);
	}
	return err_set(e, ERR_CONFIG, EXIT_FAILURE, "unknown action %s", text);
}

/* ---- the console ---- */

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

/* ---- the machine ---- */

struct wishes {
	const char *vsock, *disk, *tap, *fs, *restore;
	uint64_t room;
	bool balloon;
	int answer; /* where the guest's input comes from; -1: not from us */
	const char *actions[ACTIONS_MAX];
	unsigned n_actions;
};

static int add_devices(struct vmm *vm, const struct wishes *w, struct err *e)
{
	struct vmm_block disk = {
		.fd = -1, .path = w->disk, .flush = true, .discard = true, .io_uring = true, .own_thread = true
	};
	struct vmm_balloon balloon = { .deflate_on_oom = true, .free_page_reporting = true };
	struct vmm_vsock vsock = { .cid = 3, .uds_path = w->vsock };
	int r = vmm_add_rng(vm, "rng", NULL, e);

	if (r == 0 && w->disk)
		r = vmm_add_block(vm, "disk", &disk, e);
	if (r == 0 && w->vsock)
		r = vmm_add_vsock(vm, "vsock", &vsock, e);
	if (r == 0 && w->tap)
		r = vmm_add_net(vm, "net", &(struct vmm_net){ .tap = w->tap }, e);
	if (r == 0 && w->balloon)
		r = vmm_add_balloon(vm, "balloon", &balloon, e);
	if (r == 0 && w->room)
		r = vmm_add_memory(vm, "memory", &(struct vmm_memory){ .max = w->room }, e);
	if (r == 0 && w->fs)
		r = vmm_add_fs(vm, "fs", &(struct vmm_fs){ .tag = "share", .socket = w->fs }, e);
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

	while (r == 0 && !ended) {
		if (!copy_console(console, vmm_exit_fd(vm), &ended) || next == w->n_actions)
			continue;
		r = act(vm, w->actions[next++], e);
		if (r == 0 && w->answer >= 0 && write(w->answer, "done\n", 5) != 5)
			r = err_sys(e, errno, "cannot answer the guest");
	}
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
		{ "vcpus", required_argument, NULL, 'v' },   { "memory", required_argument, NULL, 'm' },
		{ "shared", no_argument, NULL, 's' },        { "initrd", required_argument, NULL, 'i' },
		{ "cmdline", required_argument, NULL, 'c' }, { "do", required_argument, NULL, 'd' },
		{ "vsock", required_argument, NULL, 'k' },   { "cloud", no_argument, NULL, 'p' },
		{ "split", no_argument, NULL, 'q' },         { "disk", required_argument, NULL, 'b' },
		{ "tap", required_argument, NULL, 't' },     { "restore", required_argument, NULL, 'r' },
		{ "fs", required_argument, NULL, 'f' },      { "room", required_argument, NULL, 'o' },
		{ "balloon", no_argument, NULL, 'l' },       { "answer", no_argument, NULL, 'a' },
		{ "constant", no_argument, NULL, 'x' },      { 0 },
	};
	struct vmm_config c = {
		.vcpus = 1, .memory = 256ULL << 20, .serial_in = STDIN_FILENO, .name = "boot", .seccomp = true
	};
	struct wishes w = { .answer = -1 };
	int opt, console[2], answer[2];
	struct err e = { 0 };
	bool answers = false;

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
			w.actions[w.n_actions++ % ACTIONS_MAX] = optarg;
		else if (opt == 'k')
			w.vsock = optarg;
		else if (opt == 'b')
			w.disk = optarg;
		else if (opt == 't')
			w.tap = optarg;
		else if (opt == 'r')
			w.restore = optarg;
		else if (opt == 'f')
			w.fs = optarg;
		else if (opt == 'o')
			w.room = strtoull(optarg, NULL, 10) * MIB;
		else if (opt == 'l')
			w.balloon = true;
		else if (opt == 'a')
			answers = true;
		else if (opt == 'x')
			c.kernel_constant = true;
		else if (opt == 'q')
			c.split_irqchip = true;
		else if (opt == 'p')
			c.shape = VMM_SHAPE_CLOUD;
		else
			return 2;
	}
	if (optind + !w.restore != argc || pipe(console) < 0 || pipe(answer) < 0) {
		fprintf(stderr, "usage: vmm-boot [OPTION...] KERNEL, or vmm-boot [OPTION...] --restore DIR\n");
		return 2;
	}
	c.kernel = argv[optind];
	c.serial_out = console[1];
	if (answers) {
		c.serial_in = answer[0];
		w.answer = answer[1];
	}
	return run(&c, console[0], &w, &e) < 0;
}

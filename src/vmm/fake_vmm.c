/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/fake_vmm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"
#include "caisson/vmm.h"

struct vmm {
	enum vmm_state state;
	int exit_fd;
	uint64_t balloon;
	struct vmm_memory_status memory;
};

static struct {
	struct buf calls;
	char fail[64]; /* function; "": none */
	int code;
	struct vmm *last;
	const struct vmm_count *counts;
	size_t n_counts;
	char *note; /* of the last snapshot */
} fake;

char *fake_vmm_calls(void)
{
	if (buf_append(&fake.calls, "", 0) < 0)
		abort();
	return buf_take(&fake.calls);
}

void fake_vmm_fail(const char *function, int code)
{
	snprintf(fake.fail, sizeof fake.fail, "%s", function);
	fake.code = code;
}

void fake_vmm_end(void)
{
	fake.last->state = VMM_ENDED;
	if (eventfd_write(fake.last->exit_fd, 1) < 0)
		abort();
}

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	va_list ap;

	/* A fuzzer never asks what was called. */
	if (fake.calls.len > 65536)
		fake.calls.len = 0;
	va_start(ap, fmt);
	if (buf_vprintf(&fake.calls, fmt, ap) < 0 || buf_puts(&fake.calls, "\n") < 0)
		abort();
	va_end(ap);
}

static int verdict(const char *function, struct err *e)
{
	if (strcmp(fake.fail, function))
		return 0;
	*fake.fail = 0;
	return err_set(e, ERR_SYSTEM, fake.code, "%s is made to fail", function);
}

static struct vmm *fake_new(enum vmm_state state)
{
	struct vmm *vm = calloc(1, sizeof *vm);

	if (!vm)
		abort();
	*vm = (struct vmm){ .state = state, .exit_fd = eventfd(0, EFD_CLOEXEC) };
	return fake.last = vm;
}

static const char *text(const char *s)
{
	return s ? s : "-";
}

#define U(x) ((unsigned long long)(x))

static void note_rate(const char *name, const struct vmm_rate *r)
{
	if (r && (r->bytes.size || r->ops.size))
		note("  %s bytes %llu/%llu ms +%llu, ops %llu/%llu ms +%llu", name, U(r->bytes.size),
		     U(r->bytes.refill_ms), U(r->bytes.burst), U(r->ops.size), U(r->ops.refill_ms), U(r->ops.burst));
	else if (r)
		note("  %s none", name);
}

int vmm_new(const struct vmm_config *c, struct vmm **ret, struct err *e)
{
	note("new %s%s vcpus %u x%u memory %llu%s%s%s", c->name, c->shape == VMM_SHAPE_CLOUD ? " cloud" : "", c->vcpus,
	     c->threads_per_core, U(c->memory), c->hugepages ? " hugepages" : "", c->large_pages ? " large pages" : "",
	     c->track_dirty ? " dirty" : "");
	if (c->boot_timer || c->kernel_constant || c->split_irqchip)
		note("  %s%s%s", c->boot_timer ? "boot timer " : "", c->kernel_constant ? "constant kernel " : "",
		     c->split_irqchip ? "split irqchip" : "");
	note("  kernel %s initrd %s", c->kernel, text(c->initrd));
	note("  cmdline %s", c->cmdline);
	if (verdict("vmm_new", e) < 0)
		return -fake.code;
	*ret = fake_new(VMM_NEW);
	return 0;
}

void vmm_free(struct vmm *vm)
{
	if (!vm)
		return;
	close(vm->exit_fd);
	if (fake.last == vm)
		fake.last = NULL;
	free(vm);
}

int vmm_add_block(struct vmm *vm, const char *id, const struct vmm_block *c, struct err *e)
{
	note("block %s %s%s%s%s", id, c->path, c->readonly ? " ro" : "", c->flush ? " flush" : "",
	     c->io_uring ? " io_uring" : "");
	if (c->rate.bytes.size || c->rate.ops.size)
		note_rate("rate", &c->rate);
	return verdict("vmm_add_block", e);
}

int vmm_add_net(struct vmm *vm, const char *id, const struct vmm_net *c, struct err *e)
{
	note("net %s tap %s mac %s mtu %u", id, c->tap, text(c->mac), c->mtu);
	return verdict("vmm_add_net", e);
}

int vmm_add_vsock(struct vmm *vm, const char *id, const struct vmm_vsock *c, struct err *e)
{
	note("vsock %s cid %u%s", id, c->cid, access(c->uds_path, F_OK) == 0 ? " path in use" : "");
	return verdict("vmm_add_vsock", e);
}

int vmm_add_rng(struct vmm *vm, const char *id, const struct vmm_rate *c, struct err *e)
{
	note("rng %s", id);
	return verdict("vmm_add_rng", e);
}

int vmm_add_balloon(struct vmm *vm, const char *id, const struct vmm_balloon *c, struct err *e)
{
	note("balloon %s %llu%s%s stats %u", id, U(c->bytes), c->deflate_on_oom ? " oom" : "",
	     c->free_page_reporting ? " reporting" : "", c->stats_interval_s);
	vm->balloon = c->bytes;
	return verdict("vmm_add_balloon", e);
}

int vmm_add_memory(struct vmm *vm, const char *id, const struct vmm_memory *c, struct err *e)
{
	note("memory %s max %llu block %llu", id, U(c->max), U(c->block));
	vm->memory = (struct vmm_memory_status){ .max = c->max, .block = c->block };
	return verdict("vmm_add_memory", e);
}

int vmm_add_pmem(struct vmm *vm, const char *id, const struct vmm_pmem *c, struct err *e)
{
	note("pmem %s %s%s", id, c->path, c->readonly ? " ro" : "");
	return verdict("vmm_add_pmem", e);
}

int vmm_remove(struct vmm *vm, const char *id, int timeout_ms, struct err *e)
{
	note("remove %s", id);
	return verdict("vmm_remove", e);
}

int vmm_update_block(struct vmm *vm, const char *id, const char *path, const struct vmm_rate *rate, struct err *e)
{
	note("update block %s path %s", id, text(path));
	note_rate("rate", rate);
	return verdict("vmm_update_block", e);
}

int vmm_update_net(struct vmm *vm, const char *id, const struct vmm_rate *rx, const struct vmm_rate *tx, struct err *e)
{
	note("update net %s", id);
	note_rate("rx", rx);
	note_rate("tx", tx);
	return verdict("vmm_update_net", e);
}

int vmm_update_pmem(struct vmm *vm, const char *id, const struct vmm_rate *rate, struct err *e)
{
	note("update pmem %s", id);
	note_rate("rate", rate);
	return verdict("vmm_update_pmem", e);
}

int vmm_set_balloon(struct vmm *vm, uint64_t bytes, struct err *e)
{
	note("set balloon %llu", U(bytes));
	vm->balloon = bytes;
	return verdict("vmm_set_balloon", e);
}

int vmm_set_balloon_interval(struct vmm *vm, uint32_t seconds, struct err *e)
{
	note("set balloon interval %u", seconds);
	return verdict("vmm_set_balloon_interval", e);
}

int vmm_balloon_stats(struct vmm *vm, struct vmm_balloon_stats *ret, struct err *e)
{
	*ret = (struct vmm_balloon_stats){
		.target = vm->balloon, .actual = 4096, .valid = 1 << 4 | 1 << 15, .value = { [4] = 77, [15] = 9 }
	};
	return verdict("vmm_balloon_stats", e);
}

int vmm_set_memory(struct vmm *vm, uint64_t requested, struct err *e)
{
	note("set memory %llu", U(requested));
	vm->memory.requested = requested;
	return verdict("vmm_set_memory", e);
}

int vmm_memory_status(struct vmm *vm, struct vmm_memory_status *ret, struct err *e)
{
	*ret = vm->memory;
	return verdict("vmm_memory_status", e);
}

int vmm_start(struct vmm *vm, struct err *e)
{
	note("start");
	vm->state = VMM_RUNNING;
	return verdict("vmm_start", e);
}

int vmm_pause(struct vmm *vm, struct err *e)
{
	note("pause");
	vm->state = VMM_PAUSED;
	return verdict("vmm_pause", e);
}

int vmm_resume(struct vmm *vm, struct err *e)
{
	note("resume");
	vm->state = VMM_RUNNING;
	return verdict("vmm_resume", e);
}

int vmm_ctrl_alt_del(struct vmm *vm, struct err *e)
{
	note("ctrl-alt-del");
	return verdict("vmm_ctrl_alt_del", e);
}

void vmm_stop(struct vmm *vm)
{
	note("stop");
	vm->state = VMM_ENDED;
}

enum vmm_state vmm_state(const struct vmm *vm)
{
	return vm->state;
}

int vmm_exit_fd(const struct vmm *vm)
{
	return vm->exit_fd;
}

void fake_vmm_set_stats(const struct vmm_count *counts, size_t n)
{
	fake.counts = counts;
	fake.n_counts = n;
}

void vmm_stats(struct vmm *vm, void (*fn)(void *userdata, const struct vmm_count *c), void *userdata)
{
	for (size_t n = 0; n < fake.n_counts; n++)
		fn(userdata, &fake.counts[n]);
}

void fake_vmm_set_note(const char *note)
{
	char *copy = note ? strdup(note) : NULL;

	free(fake.note);
	fake.note = copy;
}

const char *vmm_note(const struct vmm *vm)
{
	return fake.note;
}

int vmm_snapshot(struct vmm *vm, const struct vmm_snapshot *c, struct err *e)
{
	note("snapshot %s %s%s", c->state_path, c->memory_path, c->diff ? " diff" : "");
	if (vm->state != VMM_PAUSED)
		return err_set(e, ERR_CONFIG, EBUSY, "the VM runs: pause it first");
	fake_vmm_set_note(c->note);
	return verdict("vmm_snapshot", e);
}

int vmm_restore(const struct vmm_restore *c, struct vmm **ret, struct err *e)
{
	note("restore %s memory %s uffd %s%s", c->state_path, text(c->memory_path), text(c->uffd_socket),
	     c->track_dirty ? " dirty" : "");
	for (size_t n = 0; n < c->n_overrides; n++)
		note("  %s: %s", c->overrides[n].id, c->overrides[n].path);
	if (verdict("vmm_restore", e) < 0)
		return -fake.code;
	*ret = fake_new(VMM_PAUSED);
	return 0;
}

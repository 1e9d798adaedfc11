/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of snapshots: a small guest that finds out by itself whether something got lost, saved and restored. */
#pragma once

#include "base/entries.h"
#include "state/state.h"
#include "vm/small_guest.h"

#define MEMORY     (4u << 20)
#define COUNTER    0x3000
#define GENERATION 0xfe000 /* the page of the generation id */

/*
 * Two CPUs count, each in a register and in memory, where both must agree. CPU 0 also leaves its number in one of 256
 * pages, and says so at every 256th; CPU 1 runs in real mode. What does not agree is an X on the console.
 */
MICRO_GUEST(count,
	    "lea ap_count(%rip), %rsi\n mov $0x2000, %rdi\n mov $64, %ecx\n rep movsb\n"
	    "mov $0xfee00000, %rbp\n movl $0x1ff, 0xf0(%rbp)\n"
	    "movl $0x1000000, 0x310(%rbp)\n movl $0x4500, 0x300(%rbp)\n movl $0x4602, 0x300(%rbp)\n"
	    "xor %ebx, %ebx\n mov %ebx, 0x3000\n"
	    "1: cmp %ebx, 0x3000\n jne 3f\n"
	    "inc %ebx\n mov %ebx, 0x3000\n"
	    "movzbl %bl, %ecx\n shl $12, %ecx\n mov %ebx, 0x200000(%rcx)\n"
	    "test %bl, %bl\n jnz 1b\n"
	    "2: cmpl $0, 0x3004\n je 2b\n"
	    "mov $0x3f8, %dx\n mov $10, %al\n out %al, %dx\n jmp 1b\n"
	    "3:" PRINT("X") "4: hlt\n jmp 4b\n"
			    "ap_count: .code16\n xor %ax, %ax\n mov %ax, %ds\n xor %ebx, %ebx\n mov %ebx, 0x3004\n"
			    "5: cmp %ebx, 0x3004\n jne 6f\n inc %ebx\n mov %ebx, 0x3004\n jmp 5b\n"
			    "6: mov $0x3f8, %dx\n mov $'X', %al\n out %al, %dx\n 7: hlt\n jmp 7b\n .code64\n");

struct place {
	char dir[32], state[64], memory[64];
};

static inline void make_place(struct place *p)
{
	strcpy(p->dir, "/tmp/snapshot-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->state, sizeof p->state, "%s/state", p->dir);
	snprintf(p->memory, sizeof p->memory, "%s/memory", p->dir);
}

static inline void drop_place(struct place *p)
{
	assert_int_equal(dir_remove(p->dir), 0);
}

static inline void ok(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

/* A guest of two CPUs that counts once it is started. */
static inline void make_count(struct guest *g, enum vmm_shape shape, bool shared, bool dirty)
{
	struct vmm_config c;
	struct err e = { 0 };
	char path[64];

	if (!micro_guest_possible())
		skip();
	memset(g, 0, sizeof *g);
	g->kernel = make_kernel(micro_count, (size_t)(micro_count_end - micro_count));
	assert_int_equal(pipe(g->console), 0);
	c = small(g, path, sizeof path);
	c.shape = shape;
	c.vcpus = 2;
	c.memory = MEMORY;
	c.shared_memory = shared;
	c.track_dirty = dirty;
	ok(vmm_new(&c, &g->vm, &e), &e);
}

/* A running guest that has counted for a while. */
static inline void begin_count(struct guest *g, bool shared, bool dirty)
{
	make_count(g, VMM_SHAPE_MICRO, shared, dirty);
	start(g);
	assert_int_equal(heard(g), '\n');
}

static inline void pause_guest(struct vmm *vm)
{
	struct err e = { 0 };

	if (vmm_pause(vm, &e) < 0)
		fail_msg("%s", e.text);
}

static inline void take(struct vmm *vm, const char *state, const char *memory, bool diff)
{
	struct err e = { 0 };

	if (vmm_snapshot(vm, &(struct vmm_snapshot){ state, memory, diff }, &e) < 0)
		fail_msg("%s", e.text);
}

static inline struct vmm_restore from(const struct place *p)
{
	return (struct vmm_restore){
		.state_path = p->state, .memory_path = p->memory, .serial_in = -1, .serial_out = -1
	};
}

/* A snapshot of a guest that is gone. */
static inline void make_snapshot(struct place *p, bool shared, bool dirty)
{
	struct guest g;

	begin_count(&g, shared, dirty);
	make_place(p);
	pause_guest(g.vm);
	take(g.vm, p->state, p->memory, false);
	end(&g);
}

static inline struct vmm *restore(const struct vmm_restore *c)
{
	struct vmm *vm = NULL;
	struct err e = { 0 };

	if (vmm_restore(c, &vm, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(vmm_state(vm), VMM_PAUSED);
	return vm;
}

static inline void refuse(const struct vmm_restore *c, const char *text)
{
	struct err e = { 0 };
	struct vmm *vm = NULL;

	assert_true(vmm_restore(c, &vm, &e) < 0);
	if (!strstr(e.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, e.text);
	assert_null(vm);
}

static inline uint8_t *contents(const char *path, size_t len)
{
	uint8_t *data = malloc(len);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_read_full(fd, data, len), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), len);
	close(fd);
	return data;
}

static inline uint32_t counter(const char *memory)
{
	_cleanup_free_ uint8_t *data = contents(memory, MEMORY);
	uint32_t n;

	memcpy(&n, data + COUNTER, sizeof n);
	return n;
}

static inline unsigned files_in(const char *dir)
{
	return count_entries(dir) - 2;
}

/* Let it run until it has spoken. */
static inline void goes_on(struct vmm *vm, int console)
{
	struct pollfd fd = { .fd = console, .events = POLLIN };
	struct err e = { 0 };
	char c = 0;

	if (vmm_resume(vm, &e) < 0)
		fail_msg("%s", e.text);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
		assert_int_equal(read(console, &c, 1), 1);
		assert_int_equal(c, '\n');
	}
}

/* What the state file says. */
static inline struct state *read_state(const struct place *p)
{
	_cleanup_close_ int fd = open(p->state, O_RDONLY | O_CLOEXEC);
	struct state *s = NULL;
	struct err e = { 0 };

	if (state_load(fd, p->state, &s, &e) < 0)
		fail_msg("%s", e.text);
	return s;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots by the public interface, with a small guest that finds out by itself whether something got lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <dirent.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/unix_socket.h"
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

static void make_place(struct place *p)
{
	strcpy(p->dir, "/tmp/snapshot-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->state, sizeof p->state, "%s/state", p->dir);
	snprintf(p->memory, sizeof p->memory, "%s/memory", p->dir);
}

static void drop_place(struct place *p)
{
	assert_int_equal(dir_remove(p->dir), 0);
}

/* A running guest that has counted for a while. */
static void begin_count(struct guest *g, bool shared, bool dirty)
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
	c.vcpus = 2;
	c.memory = MEMORY;
	c.shared_memory = shared;
	c.track_dirty = dirty;
	if (vmm_new(&c, &g->vm, &e) < 0)
		fail_msg("%s", e.text);
	start(g);
	assert_int_equal(heard(g), '\n');
}

static void pause_guest(struct vmm *vm)
{
	struct err e = { 0 };

	if (vmm_pause(vm, &e) < 0)
		fail_msg("%s", e.text);
}

static void take(struct vmm *vm, const char *state, const char *memory, bool diff)
{
	struct err e = { 0 };

	if (vmm_snapshot(vm, &(struct vmm_snapshot){ state, memory, diff }, &e) < 0)
		fail_msg("%s", e.text);
}

static struct vmm_restore from(const struct place *p)
{
	return (struct vmm_restore){
		.state_path = p->state, .memory_path = p->memory, .serial_in = -1, .serial_out = -1
	};
}

/* A snapshot of a guest that is gone. */
static void make_snapshot(struct place *p, bool shared, bool dirty)
{
	struct guest g;

	begin_count(&g, shared, dirty);
	make_place(p);
	pause_guest(g.vm);
	take(g.vm, p->state, p->memory, false);
	end(&g);
}

static struct vmm *restore(const struct vmm_restore *c)
{
	struct vmm *vm = NULL;
	struct err e = { 0 };

	if (vmm_restore(c, &vm, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(vmm_state(vm), VMM_PAUSED);
	return vm;
}

static void refuse(const struct vmm_restore *c, const char *text)
{
	struct err e = { 0 };
	struct vmm *vm = NULL;

	assert_true(vmm_restore(c, &vm, &e) < 0);
	if (!strstr(e.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, e.text);
	assert_null(vm);
}

static uint8_t *contents(const char *path, size_t len)
{
	uint8_t *data = malloc(len);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_read_full(fd, data, len), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), len);
	close(fd);
	return data;
}

static uint32_t counter(const char *memory)
{
	_cleanup_free_ uint8_t *data = contents(memory, MEMORY);
	uint32_t n;

	memcpy(&n, data + COUNTER, sizeof n);
	return n;
}

static unsigned open_files(void)
{
	_cleanup_closedir_ DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	return n;
}

static unsigned files_in(const char *dir)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	unsigned n = 0;

	while (readdir(d))
		n++;
	return n - 2;
}

/* Let it run until it has spoken. */
static void goes_on(struct vmm *vm, int console)
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

static void test_only_a_paused_vm(void **state)
{
	struct vmm_snapshot c = { "/nowhere/state", "/nowhere/memory", false };
	struct err e = { 0 };
	struct guest g;

	begin_count(&g, false, false);
	assert_int_equal(vmm_snapshot(g.vm, &c, &e), -EBUSY);
	assert_string_equal(e.text, "cannot save the virtual machine: pause it first");
	pause_guest(g.vm);
	c.diff = true;
	assert_int_equal(vmm_snapshot(g.vm, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "does not keep track of written pages"));
	c.diff = false;
	assert_int_equal(vmm_snapshot(g.vm, &c, &e), -ENOENT);
	assert_non_null(strstr(e.text, "cannot write /nowhere/state"));
	c.memory_path = c.state_path;
	assert_int_equal(vmm_snapshot(g.vm, &c, &e), -EINVAL);
	goes_on(g.vm, g.console[0]);
	end(&g);
}

/* The guest that was saved goes on, and so does the other one, from the same numbers. */
static void round_trip(bool shared)
{
	_cleanup_free_ uint8_t *one = NULL, *two = NULL;
	struct vmm_restore c;
	struct place p, q;
	struct guest g;
	struct vmm *vm;
	uint32_t n;
	int console[2];

	begin_count(&g, shared, false);
	make_place(&p);
	make_place(&q);
	pause_guest(g.vm);
	take(g.vm, p.state, p.memory, false);
	assert_int_equal(files_in(p.dir), 2);
	n = counter(p.memory);
	assert_true(n >= 256);
	goes_on(g.vm, g.console[0]);
	end(&g);

	assert_int_equal(pipe(console), 0);
	c = from(&p);
	c.serial_out = console[1];
	vm = restore(&c);
	/* Untouched, it is saved again as it is, but for the generation id. */
	take(vm, q.state, q.memory, false);
	one = contents(p.memory, MEMORY);
	two = contents(q.memory, MEMORY);
	assert_memory_equal(one, two, GENERATION);
	assert_memory_not_equal(one + GENERATION, two + GENERATION, 16);
	assert_memory_equal(one + GENERATION + 16, two + GENERATION + 16, MEMORY - GENERATION - 16);
	assert_int_equal(counter(q.memory), n);
	goes_on(vm, console[0]);
	pause_guest(vm);
	take(vm, q.state, q.memory, false);
	assert_true(counter(q.memory) >= n + 256);
	vmm_free(vm);
	/* And that one too: a snapshot of a restored VM is complete. */
	drop_place(&p);
	c.state_path = q.state;
	c.memory_path = q.memory;
	vm = restore(&c);
	goes_on(vm, console[0]);
	vmm_free(vm);
	drop_place(&q);
	close(console[0]);
	close(console[1]);
}

static void test_round_trip(void **state)
{
	round_trip(false);
}

static void test_round_trip_shared(void **state)
{
	round_trip(true);
}

/* Copy what the difference has over the base. */
static void merge(const char *diff, const char *base)
{
	int from_fd = open(diff, O_RDONLY | O_CLOEXEC), to = open(base, O_RDWR | O_CLOEXEC);
	static uint8_t buf[MEMORY];

	assert_true(from_fd >= 0 && to >= 0);
	for (off_t data = 0, hole; (data = lseek(from_fd, data, SEEK_DATA)) >= 0; data = hole) {
		hole = lseek(from_fd, data, SEEK_HOLE);
		assert_int_equal(pread(from_fd, buf, (size_t)(hole - data), data), hole - data);
		assert_int_equal(pwrite(to, buf, (size_t)(hole - data), data), hole - data);
	}
	close(from_fd);
	close(to);
}

static off_t bytes_used(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (off_t)st.st_blocks * 512;
}

static void test_differences_add_up(void **state)
{
	_cleanup_free_ uint8_t *merged = NULL, *whole = NULL;
	char memory[3][80], other[80];
	struct vmm_restore c;
	struct place p;
	struct guest g;
	struct vmm *vm;
	int console[2];

	begin_count(&g, false, true);
	make_place(&p);
	snprintf(other, sizeof other, "%s/whole", p.dir);
	for (int i = 0; i < 3; i++) {
		snprintf(memory[i], sizeof memory[i], "%s/memory-%d", p.dir, i);
		pause_guest(g.vm);
		take(g.vm, p.state, memory[i], true);
		if (i)
			merge(memory[i], memory[0]);
		if (i < 2)
			goes_on(g.vm, g.console[0]);
	}
	/* Nothing has run since: an empty difference. */
	take(g.vm, p.state, memory[1], true);
	assert_true(bytes_used(memory[1]) < 64 << 10);
	take(g.vm, p.state, other, false);
	merged = contents(memory[0], MEMORY);
	whole = contents(other, MEMORY);
	assert_memory_equal(merged, whole, MEMORY);
	end(&g);

	/* A difference by itself is told from a whole memory; and restored VMs keep track if they shall. */
	c = from(&p);
	c.memory_path = memory[1];
	refuse(&c, "not merged into its base");
	assert_int_equal(pipe(console), 0);
	c.memory_path = memory[0];
	c.serial_out = console[1];
	c.track_dirty = true;
	vm = restore(&c);
	goes_on(vm, console[0]);
	pause_guest(vm);
	take(vm, p.state, memory[1], true);
	merge(memory[1], memory[2]); /* the second difference: of no use but as a base here */
	merge(memory[1], other);
	vmm_free(vm);
	c.memory_path = other;
	vm = restore(&c);
	goes_on(vm, console[0]);
	vmm_free(vm);
	drop_place(&p);
	close(console[0]);
	close(console[1]);
}

/* Files may not grow beyond this. */
static void limit_files(rlim_t bytes)
{
	struct rlimit l;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void test_a_failure_leaves_all_as_it_was(void **state)
{
	_cleanup_free_ uint8_t *base = NULL, *whole = NULL;
	struct vmm_snapshot c;
	char other[80];
	struct err e;
	struct place p;
	struct guest g;

	begin_count(&g, false, true);
	make_place(&p);
	snprintf(other, sizeof other, "%s/other", p.dir);
	pause_guest(g.vm);
	take(g.vm, p.state, p.memory, false);
	goes_on(g.vm, g.console[0]);
	pause_guest(g.vm);
	/* Neither the state nor the memory fits. */
	for (int i = 0; i < 2; i++) {
		limit_files(i ? 2 << 20 : 4096);
		c = (struct vmm_snapshot){ p.state, p.memory, i };
		e = (struct err){ 0 };
		assert_int_equal(vmm_snapshot(g.vm, &c, &e), -EFBIG);
		assert_non_null(strstr(e.text, "cannot write"));
		limit_files(RLIM_INFINITY);
		assert_int_equal(files_in(p.dir), 2);
	}
	/* What was written is not forgotten: base and difference are the whole. */
	take(g.vm, p.state, other, true);
	merge(other, p.memory);
	take(g.vm, p.state, other, false);
	base = contents(p.memory, MEMORY);
	whole = contents(other, MEMORY);
	assert_memory_equal(base, whole, MEMORY);
	goes_on(g.vm, g.console[0]);
	end(&g);
	drop_place(&p);
}

/* KiB of one kind in the mapping of the file. */
static unsigned long in_smaps(const char *path, const char *kind)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long sum = 0, n;
	bool ours = false;
	char line[512];

	while (fgets(line, sizeof line, f)) {
		if (strchr(line, '-') && strchr(line, '-') < line + 17)
			ours = strstr(line, path);
		else if (ours && !strncmp(line, kind, strlen(kind)) && sscanf(line + strlen(kind), ": %lu", &n) == 1)
			sum += n;
	}
	return sum;
}

static void test_clones_share_memory(void **state)
{
	struct vmm *clones[8];
	struct vmm_restore c;
	struct place p;
	unsigned files;
	int console[2];

	make_snapshot(&p, false, false);
	assert_int_equal(pipe(console), 0);
	c = from(&p);
	files = open_files();
	for (int i = 0; i < 100; i++)
		vmm_free(restore(&c));
	assert_int_equal(open_files(), files);
	assert_int_equal(in_smaps(p.memory, "Size"), 0);
	c.serial_out = console[1];
	for (int i = 0; i < 8; i++)
		clones[i] = restore(&c);
	assert_int_equal(in_smaps(p.memory, "Size"), 8 * MEMORY >> 10);
	/* Each has but its generation id for itself. */
	assert_true(in_smaps(p.memory, "Private_Dirty") <= 8 * 8);
	for (int i = 0; i < 8; i++) {
		goes_on(clones[i], console[0]);
		pause_guest(clones[i]);
		for (char buf[256]; poll(&(struct pollfd){ .fd = console[0], .events = POLLIN }, 1, 0) == 1;)
			assert_true(read(console[0], buf, sizeof buf) > 0);
	}
	for (int i = 0; i < 8; i++)
		vmm_free(clones[i]);
	assert_int_equal(open_files(), files);
	close(console[0]);
	close(console[1]);
	drop_place(&p);
}

static void test_clones_in_other_processes(void **state)
{
	struct vmm_restore c;
	struct place p;
	int console[2], status;
	pid_t pids[2];

	make_snapshot(&p, false, false);
	c = from(&p);
	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct vmm *vm;
			char buf = 0;

			if (pipe(console) < 0)
				_exit(1);
			c.serial_out = console[1];
			if (vmm_restore(&c, &vm, NULL) < 0 || vmm_resume(vm, NULL) < 0)
				_exit(2);
			if (read(console[0], &buf, 1) != 1 || buf != '\n')
				_exit(3);
			vmm_free(vm);
			_exit(0);
		}
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	drop_place(&p);
}

/* ---- what is refused ---- */

/* The state with one value changed. */
static struct state *read_state(const struct place *p)
{
	_cleanup_close_ int fd = open(p->state, O_RDONLY | O_CLOEXEC);
	struct state *s = NULL;
	struct err e = { 0 };

	if (state_load(fd, p->state, &s, &e) < 0)
		fail_msg("%s", e.text);
	return s;
}

static void write_state(struct state *s, const struct place *p)
{
	_cleanup_close_ int fd = open(p->state, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_int_equal(state_save(s, fd, p->state, NULL), 0);
	state_free(s);
}

static void test_files_that_do_not_fit(void **state)
{
	char zeroes[4096] = { 0 }, other[80];
	struct vmm_restore c;
	struct place p, q;
	unsigned files;

	make_snapshot(&p, false, false);
	make_snapshot(&q, false, false);
	files = open_files();
	c = from(&p);
	c.memory_path = q.memory;
	refuse(&c, "state and memory belong to different snapshots");
	c.memory_path = p.dir;
	refuse(&c, "is not a file of guest memory");
	c.memory_path = "/nowhere/memory";
	refuse(&c, "cannot open /nowhere/memory");
	c.memory_path = NULL;
	refuse(&c, "a memory file or a page server is needed");
	c.memory_path = p.state;
	refuse(&c, "belongs to another snapshot, or is cut off");
	c = from(&p);
	c.state_path = p.memory;
	refuse(&c, "is not a saved state of a machine");
	assert_int_equal(truncate(q.memory, MEMORY - 4096), 0);
	c = from(&q);
	refuse(&c, "bytes of memory: it belongs to another snapshot, or is cut off");
	assert_int_equal(truncate(q.state, 1000), 0);
	refuse(&c, "is cut off or longer than it says");
	snprintf(other, sizeof other, "%s/other", p.dir);
	c.state_path = other;
	refuse(&c, "cannot open");
	assert_int_equal(file_replace(other, zeroes, sizeof zeroes, 0600), 0);
	refuse(&c, "is not a saved state of a machine");
	assert_int_equal(open_files(), files);
	drop_place(&p);
	drop_place(&q);
}

static void test_other_machines(void **state)
{
	struct vmm_restore c;
	struct state *s, *vcpu;
	_cleanup_free_ uint8_t *cpuid = NULL;
	const void *blob;
	struct place p;
	size_t len;

	make_snapshot(&p, false, false);
	c = from(&p);
	s = read_state(&p);
	state_put_str(s, "architecture", "pdp11");
	write_state(s, &p);
	refuse(&c, "it was saved on pdp11, and this host is x86_64");
	s = read_state(&p);
	state_put_str(s, "architecture", "x86_64");
	state_put_u64(s, "snapshot-version", 99);
	write_state(s, &p);
	refuse(&c, "it is of version 99, and this program restores version 1");
	s = read_state(&p);
	state_put_u64(s, "snapshot-version", 1);
	state_put_u64(state_child_n(state_child(s, "ram"), "region", 0), "size", MEMORY * 2);
	write_state(s, &p);
	refuse(&c, "bytes, and the virtual machine that was saved had 8388608 bytes of memory");
	s = read_state(&p);
	state_put_u64(state_child_n(state_child(s, "ram"), "region", 0), "size", MEMORY);
	state_put_u64(state_child(s, "config"), "memory", MEMORY * 2);
	write_state(s, &p);
	refuse(&c, "memory was in other places when it was saved");
	s = read_state(&p);
	state_put_u64(state_child(s, "config"), "memory", MEMORY);
	vcpu = state_child(state_child_n(state_child(s, "vcpus"), "vcpu", 0), "state");
	assert_int_equal(state_get_blob(vcpu, "cpuid", &blob, &len, NULL), 0);
	cpuid = memcpy(malloc(len), blob, len);
	memcpy(cpuid + 16, "Cent", 4); /* leaf 0, ebx */
	state_put_bytes(vcpu, "cpuid", cpuid, len);
	write_state(s, &p);
	refuse(&c, "it was saved on a processor of Cent");
	drop_place(&p);
}

static uint64_t crc64(const uint8_t *p, size_t len)
{
	uint64_t crc = ~0ULL;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xc96c5795d7870f42ULL : crc >> 1;
	}
	return ~crc;
}

/* With a wrong checksum a spoilt file is always refused; with a right one refused, or restored to whatever it says. */
static void test_spoilt_states(void **state)
{
	_cleanup_free_ char *data = NULL;
	unsigned restored = 0, refused = 0, files;
	struct vmm_restore c;
	struct place p;
	size_t len;

	make_snapshot(&p, false, false);
	c = from(&p);
	assert_int_equal(file_read(p.state, 1 << 20, &data, &len), 0);
	files = open_files();
	for (size_t i = 0; i < len; i += len / 100 + 1) {
		for (int right = 0; right < 2; right++) {
			uint64_t crc;
			struct vmm *vm = NULL;
			struct err e = { 0 };

			data[i] ^= (char)(1 << i % 8);
			if (right) {
				crc = crc64((uint8_t *)data, len - 8);
				memcpy(data + len - 8, &crc, 8);
			}
			assert_int_equal(file_replace(p.state, data, len, 0600), 0);
			if (vmm_restore(&c, &vm, &e) == 0) {
				assert_true(right);
				restored++;
				vmm_free(vm);
			} else {
				assert_true(err_is_set(&e));
				assert_null(vm);
				refused++;
			}
			data[i] ^= (char)(1 << i % 8);
			crc = crc64((uint8_t *)data, len - 8);
			memcpy(data + len - 8, &crc, 8);
		}
	}
	assert_true(restored && refused > restored);
	assert_int_equal(open_files(), files);
	drop_place(&p);
}

/* ---- devices ---- */

static void test_a_vsock_device_at_another_path(void **state)
{
	char path[2][80], kernel[64];
	struct vmm_override overrides[] = { { "vsock0", path[1] } };
	_cleanup_close_ int fd = -1;
	struct guest g = { 0 };
	struct vmm_config config;
	struct vmm_restore c;
	struct err e = { 0 };
	struct place p;
	struct vmm *vm;

	if (!micro_guest_possible())
		skip();
	make_place(&p);
	for (int i = 0; i < 2; i++)
		snprintf(path[i], sizeof path[i], "%s/vsock-%d", p.dir, i);
	g.kernel = make_kernel(micro_count, (size_t)(micro_count_end - micro_count));
	assert_int_equal(pipe(g.console), 0);
	config = small(&g, kernel, sizeof kernel);
	config.vcpus = 2;
	if (vmm_new(&config, &g.vm, &e) < 0 ||
	    vmm_add_vsock(g.vm, "vsock0", &(struct vmm_vsock){ .cid = 5, .uds_path = path[0] }, &e) < 0)
		fail_msg("%s", e.text);
	start(&g);
	assert_int_equal(heard(&g), '\n');
	pause_guest(g.vm);
	take(g.vm, p.state, p.memory, false);

	c = from(&p);
	refuse(&c, "vsock-0"); /* the first VM listens there */
	c.overrides = overrides;
	c.n_overrides = 1;
	overrides[0].id = "vsock1";
	refuse(&c, "there is no device \"vsock1\" in the snapshot");
	overrides[0].id = "vsock0";
	vm = restore(&c);
	assert_int_equal(unix_connect(path[1], &fd), 0);
	vmm_free(vm);
	end(&g);
	drop_place(&p);
}

/* Make a file of one block. */
static void make_disk(char *path, size_t size, const struct place *p, const char *name)
{
	static const char block[4096];

	snprintf(path, size, "%s/%s", p->dir, name);
	assert_int_equal(file_replace(path, block, sizeof block, 0600), 0);
}

static void ok(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

/* One of each kind, but for what lives in another process or in the kernel's network. */
static void add_devices(struct vmm *vm, const char *disk, const char *pmem, const char *vsock, const char *passt)
{
	struct vmm_rate rate = { .ops = { 100, 7, 1000 } };
	struct err e = { 0 };

	/* A gap in the order, which the restored one has too. */
	ok(vmm_add_rng(vm, "gone", NULL, &e), &e);
	ok(vmm_add_block(vm, "disk",
			 &(struct vmm_block){ .path = disk, .fd = -1, .queues = 2, .rate = rate, .serial = "no1" }, &e),
	   &e);
	ok(vmm_add_block(vm, "own", &(struct vmm_block){ .path = disk, .fd = -1, .readonly = true, .own_thread = true },
			 &e),
	   &e);
	ok(vmm_add_net(vm, "net", &(struct vmm_net){ .socket = passt, .mac = "02:00:00:00:00:07", .mtu = 1400 }, &e),
	   &e);
	ok(vmm_add_vsock(vm, "vsock", &(struct vmm_vsock){ .cid = 9, .uds_path = vsock }, &e), &e);
	ok(vmm_add_rng(vm, "rng", &rate, &e), &e);
	ok(vmm_add_balloon(vm, "balloon", &(struct vmm_balloon){ .bytes = 1 << 20, .free_page_reporting = true }, &e),
	   &e);
	ok(vmm_add_memory(vm, "more", &(struct vmm_memory){ .max = 8 << 20, .requested = 4 << 20 }, &e), &e);
	ok(vmm_add_pmem(vm, "pmem", &(struct vmm_pmem){ .path = pmem }, &e), &e);
	ok(vmm_add_console(vm, "console", &(struct vmm_console){ -1, -1 }, &e), &e);
	ok(vmm_remove(vm, "gone", 0, &e), &e);
}

/* What the state says of the device. */
static const struct state *saved_device(const struct state *s, unsigned i, const char *id, const char *kind)
{
	const struct state *d = state_get_child_n(state_get_child(s, "devices", NULL), "device", i, NULL);
	const char *text;

	assert_int_equal(state_get_str(d, "id", &text, NULL), 0);
	assert_string_equal(text, id);
	d = state_get_child(d, "config", NULL);
	assert_int_equal(state_get_str(d, "kind", &text, NULL), 0);
	assert_string_equal(text, kind);
	return d;
}

static void check_devices(const struct place *p, const char *disk)
{
	static const char *const devices[][2] = {
		{ "disk", "block" },  { "own", "block" }, { "net", "net" },
		{ "vsock", "vsock" }, { "rng", "rng" },   { "balloon", "balloon" },
		{ "more", "memory" }, { "pmem", "pmem" }, { "console", "console" },
	};
	_cleanup_(state_free_p) struct state *s = read_state(p);
	const char *text;
	uint64_t n, place;

	assert_int_equal(state_get_u64(state_get_child(s, "devices", NULL), "devices", &n, NULL), 0);
	assert_int_equal(n, 9);
	for (unsigned i = 0; i < n; i++)
		saved_device(s, i, devices[i][0], devices[i][1]);
	assert_int_equal(state_get_str(saved_device(s, 0, "disk", "block"), "path", &text, NULL), 0);
	assert_string_equal(text, disk);
	assert_int_equal(state_get_str(saved_device(s, 0, "disk", "block"), "serial", &text, NULL), 0);
	assert_string_equal(text, "no1");
	assert_int_equal(state_get_u64(saved_device(s, 0, "disk", "block"), "rate-ops-burst", &n, NULL), 0);
	assert_int_equal(n, 7);
	assert_int_equal(state_get_u64(saved_device(s, 2, "net", "net"), "mtu", &n, NULL), 0);
	assert_int_equal(n, 1400);
	/* Behind the gap. */
	assert_int_equal(state_get_u64(state_get_child_n(state_get_child(s, "devices", NULL), "device", 0, NULL),
				       "place", &place, NULL),
			 0);
	assert_true(place >= 1);
	/* Memory of a virtio-mem device is part of the file. */
	assert_int_equal(state_get_u64(state_get_child(s, "ram", NULL), "regions", &n, NULL), 0);
	assert_int_equal(n, 2);
}

static void devices_come_back(enum vmm_shape shape)
{
	char disk[2][80], pmem[80], vsock[2][80], passt[80], kernel[64];
	struct vmm_override overrides[] = { { "disk", disk[1] }, { "vsock", vsock[1] } };
	struct vmm_memory_status status;
	struct guest g = { 0 };
	struct vmm_config config;
	struct err e = { 0 };
	struct vmm_restore c;
	struct place p, q;
	struct vmm *vm;
	struct stat st;
	int peer, console[2];

	if (!micro_guest_possible())
		skip();
	make_place(&p);
	make_place(&q);
	for (int i = 0; i < 2; i++) {
		make_disk(disk[i], sizeof disk[i], &p, i ? "disk-1" : "disk-0");
		snprintf(vsock[i], sizeof vsock[i], "%s/vsock-%d", p.dir, i);
	}
	make_disk(pmem, sizeof pmem, &p, "pmem");
	snprintf(passt, sizeof passt, "%s/passt", p.dir);
	ok(unix_listen(passt, 0600, &peer, &e), &e);
	g.kernel = make_kernel(micro_count, (size_t)(micro_count_end - micro_count));
	assert_int_equal(pipe(g.console), 0);
	config = small(&g, kernel, sizeof kernel);
	config.vcpus = 2;
	config.shape = shape;
	ok(vmm_new(&config, &g.vm, &e), &e);
	add_devices(g.vm, disk[0], pmem, vsock[0], passt);
	start(&g);
	assert_int_equal(heard(&g), '\n');
	pause_guest(g.vm);
	take(g.vm, p.state, p.memory, false);
	check_devices(&p, disk[0]);
	assert_int_equal(stat(p.memory, &st), 0);
	assert_int_equal(st.st_size, MEMORY + (8 << 20));
	goes_on(g.vm, g.console[0]);
	end(&g);

	assert_int_equal(pipe(console), 0);
	c = from(&p);
	c.overrides = overrides;
	c.n_overrides = 2;
	c.serial_out = console[1];
	vm = restore(&c);
	ok(vmm_memory_status(vm, &status, &e), &e);
	assert_int_equal(status.requested, 4 << 20);
	take(vm, q.state, q.memory, false);
	check_devices(&q, disk[1]);
	goes_on(vm, console[0]);
	vmm_free(vm);
	close(peer);
	close(console[0]);
	close(console[1]);
	drop_place(&p);
	drop_place(&q);
}

static void test_devices_come_back(void **state)
{
	devices_come_back(VMM_SHAPE_MICRO);
}

static void test_devices_come_back_on_pci(void **state)
{
	devices_come_back(VMM_SHAPE_CLOUD);
}

static void test_a_descriptor_has_to_be_named(void **state)
{
	char disk[80], kernel[64];
	struct vmm_override override = { "disk", disk };
	struct guest g = { 0 };
	struct vmm_config config;
	struct err e = { 0 };
	struct vmm_restore c;
	struct place p;

	if (!micro_guest_possible())
		skip();
	make_place(&p);
	make_disk(disk, sizeof disk, &p, "disk");
	g.kernel = make_kernel(micro_count, (size_t)(micro_count_end - micro_count));
	assert_int_equal(pipe(g.console), 0);
	config = small(&g, kernel, sizeof kernel);
	config.vcpus = 2;
	ok(vmm_new(&config, &g.vm, &e), &e);
	ok(vmm_add_block(g.vm, "disk", &(struct vmm_block){ .fd = open(disk, O_RDWR | O_CLOEXEC) }, &e), &e);
	ok(vmm_add_rng(g.vm, "rng", NULL, &e), &e);
	start(&g);
	assert_int_equal(heard(&g), '\n');
	pause_guest(g.vm);
	take(g.vm, p.state, p.memory, false);
	end(&g);
	c = from(&p);
	refuse(&c, "device \"disk\": it had been given as an open descriptor: name its path to restore it");
	c.overrides = &override;
	c.n_overrides = 1;
	vmm_free(restore(&c));
	override.id = "rng";
	refuse(&c, "device \"disk\"");
	drop_place(&p);
}

/* ---- a page server ---- */

struct server {
	int listen;
	const char *memory;
	char text[1024];
	unsigned served;
};

static int receive_handshake(struct server *s)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { s->text, sizeof s->text - 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	int fd = accept(s->listen, NULL, NULL), uffd = -1;

	assert_true(recvmsg(fd, &msg, MSG_CMSG_CLOEXEC) > 0);
	memcpy(&uffd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof uffd);
	close(fd);
	return uffd;
}

/* Answers faults out of the memory file until it is told to end by a connection. */
static void *serve(void *arg)
{
	struct server *s = arg;
	_cleanup_free_ uint8_t *memory = contents(s->memory, MEMORY);
	unsigned long long base = 0;
	struct uffd_msg m;
	int uffd = receive_handshake(s);

	sscanf(s->text, "[{\"base_host_virt_addr\":%llu", &base);
	for (;;) {
		struct pollfd fds[] = { { .fd = uffd, .events = POLLIN }, { .fd = s->listen, .events = POLLIN } };
		struct uffdio_copy copy = { .len = 4096 };

		poll(fds, 2, -1);
		if (fds[1].revents)
			break;
		if (read(uffd, &m, sizeof m) != sizeof m || m.event != UFFD_EVENT_PAGEFAULT)
			continue;
		copy.dst = m.arg.pagefault.address & ~4095ULL;
		copy.src = (uintptr_t)memory + (copy.dst - base);
		s->served += ioctl(uffd, UFFDIO_COPY, &copy) == 0;
	}
	close(uffd);
	return NULL;
}

static void test_page_server(void **state)
{
	_cleanup_close_ int fd = -1;
	char path[80], expected[256];
	struct server s = { 0 };
	struct err e = { 0 };
	struct vmm_restore c;
	struct vmm *vm = NULL;
	struct place p;
	pthread_t thread;
	int console[2], r;

	make_snapshot(&p, false, false);
	snprintf(path, sizeof path, "%s/server", p.dir);
	assert_int_equal(unix_listen(path, 0600, &s.listen, &e), 0);
	fd_set_nonblock(s.listen, false);
	s.memory = p.memory;
	assert_int_equal(pthread_create(&thread, NULL, serve, &s), 0);
	assert_int_equal(pipe(console), 0);
	c = from(&p);
	c.memory_path = NULL;
	c.uffd_socket = path;
	c.serial_out = console[1];
	r = vmm_restore(&c, &vm, &e);
	if (r < 0 && strstr(e.text, "cannot make a userfaultfd")) {
		print_message("skipped: %s\n", e.text);
		assert_int_equal(unix_connect(path, &fd), 0);
		pthread_cancel(thread);
	} else {
		if (r < 0)
			fail_msg("%s", e.text);
		goes_on(vm, console[0]);
		vmm_free(vm);
		assert_int_equal(unix_connect(path, &fd), 0);
	}
	pthread_join(thread, NULL);
	if (r == 0) {
		/* The guest touched some, and got no more than that. */
		assert_true(s.served > 4 && s.served < MEMORY / 4096);
		snprintf(expected, sizeof expected,
			 "\"size\":%u,\"offset\":0,\"page_size\":4096,\"page_size_kib\":4096}]", MEMORY);
		assert_non_null(strstr(s.text, expected));
	}
	close(s.listen);
	close(console[0]);
	close(console[1]);
	c.uffd_socket = "/nowhere/server";
	if (r == 0)
		refuse(&c, "cannot hand guest memory to the page server at /nowhere/server");
	drop_place(&p);
	if (r < 0)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_a_paused_vm),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_round_trip_shared),
		cmocka_unit_test(test_differences_add_up),
		cmocka_unit_test(test_a_failure_leaves_all_as_it_was),
		cmocka_unit_test(test_clones_share_memory),
		cmocka_unit_test(test_clones_in_other_processes),
		cmocka_unit_test(test_files_that_do_not_fit),
		cmocka_unit_test(test_other_machines),
		cmocka_unit_test(test_spoilt_states),
		cmocka_unit_test(test_a_vsock_device_at_another_path),
		cmocka_unit_test(test_devices_come_back),
		cmocka_unit_test(test_devices_come_back_on_pci),
		cmocka_unit_test(test_a_descriptor_has_to_be_named),
		cmocka_unit_test(test_page_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

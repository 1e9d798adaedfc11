/* SPDX-License-Identifier: Apache-2.0 */
/* What a snapshot keeps: the guest goes on, differences add up, clones share memory, failures leave all as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "vm/snapshot_fixture.h"

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

#define KERNEL_PAGES 9

/* The guest that counts, and pages behind it that it never touches. */
static int make_kernel_of_pages(uint8_t *pages)
{
	int fd = make_kernel(micro_count, (size_t)(micro_count_end - micro_count));
	Elf64_Phdr load;

	for (size_t i = 0; i < KERNEL_PAGES * 4096; i++)
		pages[i] = (uint8_t)(1 + i % 251);
	memcpy(pages, micro_count, (size_t)(micro_count_end - micro_count));
	assert_int_equal(pread(fd, &load, sizeof load, sizeof(Elf64_Ehdr)), sizeof load);
	load.p_offset = 4096;
	load.p_filesz = load.p_memsz = KERNEL_PAGES * 4096;
	assert_int_equal(pwrite(fd, &load, sizeof load, sizeof(Elf64_Ehdr)), sizeof load);
	assert_int_equal(pwrite(fd, pages, KERNEL_PAGES * 4096, 4096), KERNEL_PAGES * 4096);
	return fd;
}

static bool is_mapped(const char *name)
{
	_cleanup_fclose_ FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof line, maps))
		if (strstr(line, name))
			return true;
	return false;
}

/* Pages that are still the kernel file's belong to the memory, whether anybody has touched them or not. */
static void kernel_pages(const struct vmm_config *how, bool sealed, bool mapped)
{
	static uint8_t pages[KERNEL_PAGES * 4096];
	_cleanup_free_ uint8_t *memory = NULL;
	struct guest g = { 0 };
	struct vmm_config c;
	struct err e = { 0 };
	struct place p;
	char path[64];

	g.kernel = make_kernel_of_pages(pages);
	assert_int_equal(pipe(g.console), 0);
	if (sealed)
		assert_int_equal(fcntl(g.kernel, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
	c = small(&g, path, sizeof path);
	c.memory = MEMORY;
	c.vcpus = 2;
	c.kernel_constant = how->kernel_constant;
	c.shared_memory = how->shared_memory;
	c.prealloc = how->prealloc;
	ok(vmm_new(&c, &g.vm, &e), &e);
	start(&g);
	assert_int_equal(heard(&g), '\n');
	assert_int_equal(is_mapped("memfd:kernel"), mapped);
	make_place(&p);
	pause_guest(g.vm);
	take(g.vm, p.state, p.memory, false);
	memory = contents(p.memory, MEMORY);
	assert_memory_equal(memory + KERNEL_AT, pages, sizeof pages);
	end(&g);
	drop_place(&p);
}

static void test_kernel_pages(void **state)
{
	if (!micro_guest_possible())
		skip();
	kernel_pages(&(struct vmm_config){ 0 }, false, false);
	kernel_pages(&(struct vmm_config){ 0 }, true, true);
	kernel_pages(&(struct vmm_config){ .kernel_constant = true }, false, true);
	kernel_pages(&(struct vmm_config){ .kernel_constant = true, .shared_memory = true }, true, false);
	kernel_pages(&(struct vmm_config){ .kernel_constant = true, .prealloc = true }, true, false);
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
	files = count_fds();
	for (int i = 0; i < 100; i++)
		vmm_free(restore(&c));
	assert_int_equal(count_fds(), files);
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
	assert_int_equal(count_fds(), files);
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

static void test_a_note_comes_back(void **state)
{
	struct vmm_restore c;
	struct err e = { 0 };
	struct place p;
	struct guest g;
	struct vmm *vm;

	begin_count(&g, false, false);
	make_place(&p);
	pause_guest(g.vm);
	assert_null(vmm_note(g.vm));
	take(g.vm, p.state, p.memory, false);
	c = from(&p);
	vm = restore(&c);
	assert_null(vmm_note(vm));
	vmm_free(vm);
	ok(vmm_snapshot(g.vm, &(struct vmm_snapshot){ p.state, p.memory, .note = "{\"a\": 1}" }, &e), &e);
	vm = restore(&c);
	assert_string_equal(vmm_note(vm), "{\"a\": 1}");
	vmm_free(vm);
	end(&g);
	drop_place(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel_pages),
		cmocka_unit_test(test_a_note_comes_back),
		cmocka_unit_test(test_only_a_paused_vm),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_round_trip_shared),
		cmocka_unit_test(test_differences_add_up),
		cmocka_unit_test(test_a_failure_leaves_all_as_it_was),
		cmocka_unit_test(test_clones_share_memory),
		cmocka_unit_test(test_clones_in_other_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

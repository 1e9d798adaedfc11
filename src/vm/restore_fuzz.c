/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots from a stranger: a good state is spoilt as the input says, gets a right checksum, and is restored. What
 * comes to life may be anything, but its devices are resumed, paused and saved again without harm; its vCPUs are not
 * run. Where there is no /dev/kvm only the configurations of devices are loaded.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "state/state.h"
#include "vm/device_config.h"
#include "vm/machine.h"

#define HEAD_LEN 16
#define TAIL_LEN 8
#define MEMORY   (2u << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *good, *bad; /* state files */
static size_t good_len;
static int state_fd, memory_fd;
static bool have_kvm;

static uint64_t table[256];

static void make_table(void)
{
	for (unsigned i = 0; i < 256; i++) {
		table[i] = i;
		for (unsigned bit = 0; bit < 8; bit++)
			table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xc96c5795d7870f42ULL : table[i] >> 1;
	}
}

static uint64_t crc64(const uint8_t *p, size_t len)
{
	uint64_t crc = ~0ULL;

	for (size_t i = 0; i < len; i++)
		crc = crc >> 8 ^ table[(crc ^ p[i]) & 0xff];
	return ~crc;
}

/* ---- what is spoilt ---- */

/* A kernel that is never run: 64-bit code of one instruction. */
static const uint8_t kernel[] = {
	0x7f, 'E',  'L',  'F', 2,  1, 1,  0, 0,    0, 0,    0, 0, 0, 0, 0, /* head */
	2,    0,    62,   0,   1,  0, 0,  0, 0,    0, 0x10, 0, 0, 0, 0, 0, /* executable, x86-64, entry 1 MiB */
	64,   0,    0,    0,   0,  0, 0,  0, 0,    0, 0,    0, 0, 0, 0, 0, /* program headers at 64 */
	0,    0,    0,    0,   64, 0, 56, 0, 1,    0, 64,   0, 0, 0, 0, 0, /* one of them */
	1,    0,    0,    0,   5,  0, 0,  0, 0,    0, 0,    0, 0, 0, 0, 0, /* load all of the file */
	0,    0,    0x10, 0,   0,  0, 0,  0, 0,    0, 0x10, 0, 0, 0, 0, 0, /* to 1 MiB */
	121,  0,    0,    0,   0,  0, 0,  0, 121,  0, 0,    0, 0, 0, 0, 0, /* as long as it is */
	0,    0x10, 0,    0,   0,  0, 0,  0, 0xf4,                         /* hlt */
};

static void add_devices(struct vmm *vm)
{
	struct vmm_rate rate = { .bytes = { 1 << 20, 0, 100 } };

	if (vmm_add_block(vm, "disk", &(struct vmm_block){ .path = "/proc/self/fd/200", .fd = -1, .rate = rate },
			  NULL) < 0 ||
	    vmm_add_rng(vm, "rng", &rate, NULL) < 0 ||
	    vmm_add_balloon(vm, "balloon", &(struct vmm_balloon){ .bytes = 4096, .stats_interval_s = 1 }, NULL) < 0 ||
	    vmm_add_memory(vm, "more", &(struct vmm_memory){ .max = 4 << 20, .requested = 2 << 20 }, NULL) < 0 ||
	    vmm_add_pmem(vm, "pmem", &(struct vmm_pmem){ .path = "/proc/self/fd/200" }, NULL) < 0 ||
	    vmm_add_console(vm, "console", &(struct vmm_console){ -1, -1 }, NULL) < 0)
		abort();
}

/* The medium of disk and pmem, at a descriptor that the state can name. */
static void make_disk(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, 4096) < 0 || dup2(fd, 200) != 200)
		abort();
	close(fd);
}

static int file_of(const char *path)
{
	_cleanup_free_ char *data = NULL;
	int fd = memfd_create("snapshot", MFD_CLOEXEC);
	size_t len;

	if (file_read(path, 64 << 20, &data, &len) < 0 || fd_write_full(fd, data, len) < 0)
		abort();
	return fd;
}

/* A VM of this shape, saved before it has done anything. False: there is no KVM. */
static bool make_snapshot(enum vmm_shape shape)
{
	char dir[] = "/tmp/restore-fuzz-XXXXXX", state[64], memory[64], path[64];
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	struct vmm_config c = { .vcpus = 1,
				.max_vcpus = 2,
				.memory = MEMORY,
				.shape = shape,
				.kernel = path,
				.serial_in = -1,
				.serial_out = -1 };
	struct vmm *vm;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (access("/dev/kvm", R_OK | W_OK) < 0 || vmm_new(&c, &vm, NULL) < 0) {
		close(fd);
		return false;
	}
	if (fd_write_full(fd, kernel, sizeof kernel) < 0 || !mkdtemp(dir))
		abort();
	snprintf(state, sizeof state, "%s/state", dir);
	snprintf(memory, sizeof memory, "%s/memory", dir);
	add_devices(vm);
	if (vmm_start(vm, NULL) < 0 || vmm_pause(vm, NULL) < 0 ||
	    vmm_snapshot(vm, &(struct vmm_snapshot){ state, memory, false }, NULL) < 0)
		abort();
	vmm_free(vm);
	close(fd);
	state_fd = file_of(state);
	memory_fd = file_of(memory);
	dir_remove(dir);
	return true;
}

/* Without KVM: one configuration, of a kind with every type of field. */
static void make_configuration(void)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	struct vmm_net net = { .tap = "tap0", .mac = "02:00:00:00:00:01", .mtu = 1500, .queue_pairs = 2 };
	struct device_config c;

	if (state_new(&s) < 0 || device_config_copy(&c, DEVICE_NET, &net) < 0)
		abort();
	device_config_save(&c, s);
	device_config_fini(&c);
	state_fd = memfd_create("state", MFD_CLOEXEC);
	if (state_save(s, state_fd, "state", NULL) < 0)
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *shape = getenv("RESTORE_FUZZ_SHAPE");
	off_t len;

	make_table();
	make_disk();
	have_kvm = make_snapshot(shape && !strcmp(shape, "micro") ? VMM_SHAPE_MICRO : VMM_SHAPE_CLOUD);
	if (!have_kvm)
		make_configuration();
	len = lseek(state_fd, 0, SEEK_END);
	good_len = (size_t)len;
	good = malloc(good_len);
	bad = malloc(good_len);
	if (!good || !bad || pread(state_fd, good, good_len, 0) != len)
		abort();
	return 0;
}

/* ---- spoiling it ---- */

static void check_configuration(const struct state *s)
{
	_cleanup_(state_free_p) struct state *again = NULL;
	struct device_config c, d;

	if (device_config_load(&c, s, NULL, NULL) < 0)
		return;
	if (state_new(&again) < 0)
		abort();
	device_config_save(&c, again);
	if (device_config_load(&d, again, NULL, NULL) < 0 || d.kind != c.kind)
		abort();
	device_config_fini(&c);
	device_config_fini(&d);
}

static void load_configuration(void)
{
	_cleanup_(state_free_p) struct state *s = NULL;

	if (lseek(state_fd, 0, SEEK_SET) == 0 && state_load(state_fd, "fuzz", &s, NULL) == 0)
		check_configuration(s);
}

static void restore(void)
{
	_cleanup_(state_free_p) struct state *again = NULL;
	char state[32], memory[32];
	struct vmm_restore c = { .state_path = state, .memory_path = memory, .serial_in = -1, .serial_out = -1 };
	struct err e = { 0 };
	struct vmm *vm = NULL;

	snprintf(state, sizeof state, "/proc/self/fd/%d", state_fd);
	snprintf(memory, sizeof memory, "/proc/self/fd/%d", memory_fd);
	if (vmm_restore(&c, &vm, &e) < 0) {
		if (!err_is_set(&e) || vm)
			abort(); /* refused without a reason */
		return;
	}
	devices_resume(vm);
	devices_pause(vm);
	if (state_new(&again) < 0)
		abort();
	loop_enter(vm->loop);
	if (devices_save(vm, again, &e) < 0)
		abort();
	loop_leave(vm->loop);
	vmm_free(vm);
}

/* Each four bytes of the input: a place, and what is put there: a byte, or a bit that is flipped. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t body = good_len - HEAD_LEN - TAIL_LEN;
	uint64_t crc;

	memcpy(bad, good, good_len);
	for (; size >= 4; data += 4, size -= 4) {
		size_t at = ((size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2]) % body;

		if (data[0] & 0x80)
			bad[HEAD_LEN + at] ^= (uint8_t)(1 << data[3] % 8);
		else
			bad[HEAD_LEN + at] = data[3];
	}
	crc = crc64(bad, good_len - TAIL_LEN);
	memcpy(bad + good_len - TAIL_LEN, &crc, TAIL_LEN);
	if (pwrite(state_fd, bad, good_len, 0) != (ssize_t)good_len)
		abort();
	if (have_kvm)
		restore();
	else
		load_configuration();
	return 0;
}

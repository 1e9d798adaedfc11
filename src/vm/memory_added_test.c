/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is added to a VM, and taken away again, before it starts; and who is told of it. */
#include <setjmp.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "base/strv.h"
#include "vhostuser/server.h"
#include "vm/devices.h"
#include "vm/small_guest.h"

#define SIZE (64ull << 20)

static const struct vmm_memory memory = { .max = SIZE, .requested = 2 << 20 };

static void ok(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

static struct vmm *make(void)
{
	const struct vmm_config c = { .vcpus = 1,
				      .memory = 4 << 20,
				      .shared_memory = true,
				      .track_dirty = true,
				      .serial_in = -1,
				      .serial_out = -1 };
	struct err e = { 0 };
	struct vmm *vm;

	if (!micro_guest_possible())
		skip();
	ok(vmm_new(&c, &vm, &e), &e);
	return vm;
}

/* Where the memory device is. */
static gpa_t place(struct vmm *vm)
{
	struct vm_device *d = device_find(vm, "memory", DEVICE_MEMORY, NULL);

	assert_non_null(d);
	return d->gpa;
}

/* More often than there is room for regions. */
static void test_what_is_removed_leaves_nothing(void **state)
{
	struct vmm *vm = make();
	unsigned before = vm->memory.n;
	struct err e = { 0 };

	for (int i = 0; i < 2 * RAM_MAX; i++) {
		gpa_t gpa;

		ok(vmm_add_memory(vm, "memory", &memory, &e), &e);
		gpa = place(vm);
		assert_int_equal(vm->memory.n, before + 1);
		assert_int_equal(guestmem_set_present(vm->mem, gpa, SIZE, true), 0);
		ok(vmm_remove(vm, "memory", 0, &e), &e);
		assert_int_equal(vm->memory.n, before);
		assert_int_equal(guestmem_set_present(vm->mem, gpa, SIZE, true), -EINVAL);
	}
	/* The others stay. */
	ok(vmm_add_memory(vm, "first", &memory, &e), &e);
	ok(vmm_add_memory(vm, "memory", &memory, &e), &e);
	ok(vmm_remove(vm, "first", 0, &e), &e);
	assert_int_equal(guestmem_set_present(vm->mem, place(vm), SIZE, true), 0);
	vmm_free(vm);
}

/* One device too many, or one that has no place to be: the memory that was there already goes too. */
static void test_what_cannot_be_added_leaves_nothing(void **state)
{
	struct vmm *vm = make();
	struct err e = { 0 };
	unsigned before;
	char id[16];
	int n = 0;

	while (snprintf(id, sizeof id, "rng%d", n), vmm_add_rng(vm, id, NULL, &e) == 0)
		n++;
	before = vm->memory.n;
	assert_int_equal(vmm_add_memory(vm, "memory", &memory, &e), -ENOSPC);
	assert_int_equal(vm->memory.n, before);
	vmm_free(vm);
}

static bool dirty(struct vmm *vm, unsigned i, uint64_t page)
{
	const struct ram *ram = &vm->memory.ram[i];

	return __atomic_load_n(&ram->host_dirty[page / 64], __ATOMIC_RELAXED) >> page % 64 & 1;
}

/* What a device writes across the end of the machine's memory, where added memory begins. */
static void test_writes_into_two_regions_are_both_seen(void **state)
{
	const struct vmm_config c = {
		.vcpus = 1, .memory = 4ull << 30, .track_dirty = true, .serial_in = -1, .serial_out = -1
	};
	struct err e = { 0 };
	struct vmm *vm;
	uint64_t last;
	gpa_t gpa;

	if (!micro_guest_possible())
		skip();
	ok(vmm_new(&c, &vm, &e), &e);
	ok(vmm_add_memory(vm, "memory", &memory, &e), &e);
	gpa = place(vm);
	assert_int_equal(vm->memory.n, 3);
	assert_true(vm->memory.ram[1].gpa + vm->memory.ram[1].size == gpa);
	last = vm->memory.ram[1].size / memory_page() - 1;
	guestmem_mark_dirty(vm->mem, gpa - memory_page() - 1, memory_page() + 2);
	assert_true(dirty(vm, 1, last - 1) && dirty(vm, 1, last) && dirty(vm, 2, 0));
	assert_false(dirty(vm, 1, last - 2) || dirty(vm, 2, 1) || dirty(vm, 0, 0));
	vmm_free(vm);
}

/* Whether the mapping that page is in is left out of what is forked: "dc" of its flags (proc_pid_smaps(5)). */
static bool kept_from_children(const void *page)
{
	_cleanup_free_ char *text = NULL;
	bool inside = false;
	char *rest, *line;

	assert_int_equal(file_read("/proc/self/smaps", 16 << 20, &text, NULL), 0);
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (uintptr_t)page >= from && (uintptr_t)page < to;
		else if (inside && str_after(line, "VmFlags:"))
			return strstr(line, " dc");
	}
	fail_msg("no mapping");
	return false;
}

static void test_a_forked_process_has_no_guest_memory(void **state)
{
	struct vmm *vm = make();
	struct err e = { 0 };

	ok(vmm_add_memory(vm, "memory", &memory, &e), &e);
	assert_true(kept_from_children(vm->memory.ram[0].host));
	assert_true(kept_from_children(vm->memory.ram[1].host));
	vmm_free(vm);
}

/* ---- a shared folder's server, which looks whether it has the memory ---- */

static struct {
	gpa_t gpa;
	bool there;
	sem_t looked;
} server;

static int watch_activate(struct virtio_device *dev)
{
	return 0;
}

static void watch_kick(struct virtio_device *dev, unsigned queue)
{
	server.there = guestmem_valid(dev->mem, server.gpa, SIZE);
	sem_post(&server.looked);
}

static void watch_config(struct virtio_device *dev, uint32_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
}

static void watch_reset(struct virtio_device *dev)
{
}

static void watch_free(struct virtio_device *dev)
{
	free(dev->queues);
	free(dev);
}

static int watch_new(struct loop *loop, void *userdata, struct virtio_device **ret, struct err *e)
{
	static const struct virtio_device_ops ops = { .activate = watch_activate,
						      .queue_kick = watch_kick,
						      .config_read = watch_config,
						      .reset = watch_reset,
						      .free = watch_free };
	static const uint16_t max[] = { 16, 16 };
	struct virtio_device *dev = calloc(1, sizeof *dev);

	*dev = (struct virtio_device){ .ops = &ops,
				       .type = 26,
				       .features = VIRTIO_F_VERSION_1,
				       .n_queues = 2,
				       .queue_max = max,
				       .queues = calloc(2, sizeof *dev->queues) };
	*ret = dev;
	return 0;
}

/* As the guest's driver does it, with rings in the first pages of memory: start the first queue, and kick it. */
static void use(struct vmm *vm)
{
	struct vm_device *d = device_find(vm, "fs", DEVICE_FS, NULL);
	struct virtio_device *dev;

	assert_non_null(d);
	dev = d->dev;
	loop_enter(d->loop);
	dev->acked = dev->features;
	dev->queues[0] = (struct virtq){ .size = 16, .desc = 0x1000, .avail = 0x2000, .used = 0x3000 };
	assert_int_equal(virtio_device_start_queue(dev, 0), 0);
	assert_int_equal(virtio_device_activate(dev), 0);
	virtio_device_kick(dev, 0);
	loop_leave(d->loop);
	assert_int_equal(sem_wait(&server.looked), 0);
	loop_enter(d->loop);
	virtio_device_reset(dev);
	loop_leave(d->loop);
	while (sem_trywait(&server.looked) == 0)
		;
}

static void test_servers_of_folders_are_told(void **state)
{
	struct vmm *vm = make();
	char dir[] = "/tmp/caisson-vm-XXXXXX", path[64];
	struct vhost_user_server_config c = { .path = path, .fd = -1, .factory = watch_new };
	struct vhost_user_server *s;
	struct err e = { 0 };

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/fs", dir);
	assert_int_equal(sem_init(&server.looked, 0, 0), 0);
	ok(vhost_user_server_start(&c, &s, &e), &e);
	ok(vmm_add_fs(vm, "fs", &(struct vmm_fs){ .tag = "share", .socket = path, .queue_size = 16 }, &e), &e);
	ok(vmm_add_memory(vm, "memory", &memory, &e), &e);
	server.gpa = place(vm);
	use(vm);
	assert_true(server.there);
	ok(vmm_remove(vm, "memory", 0, &e), &e);
	use(vm);
	assert_false(server.there);
	vmm_free(vm);
	vhost_user_server_stop(s);
	sem_destroy(&server.looked);
	assert_int_equal(dir_remove(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_removed_leaves_nothing),
		cmocka_unit_test(test_what_cannot_be_added_leaves_nothing),
		cmocka_unit_test(test_writes_into_two_regions_are_both_seen),
		cmocka_unit_test(test_a_forked_process_has_no_guest_memory),
		cmocka_unit_test(test_servers_of_folders_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

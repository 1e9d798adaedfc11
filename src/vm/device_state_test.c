/* SPDX-License-Identifier: Apache-2.0 */
/* Devices in snapshots: each kind comes back in its place, with other paths where that is asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "base/unix_socket.h"
#include "vm/snapshot_fixture.h"

static void test_a_vsock_device_at_another_path(void **state)
{
	char path[2][80];
	struct vmm_override overrides[] = { { "vsock0", path[1] } };
	_cleanup_close_ int fd = -1;
	struct guest g;
	struct vmm_restore c;
	struct err e = { 0 };
	struct place p;
	struct vmm *vm;

	make_count(&g, VMM_SHAPE_MICRO, false, false);
	make_place(&p);
	for (int i = 0; i < 2; i++)
		snprintf(path[i], sizeof path[i], "%s/vsock-%d", p.dir, i);
	ok(vmm_add_vsock(g.vm, "vsock0", &(struct vmm_vsock){ .cid = 5, .uds_path = path[0] }, &e), &e);
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
	char disk[2][80], pmem[80], vsock[2][80], passt[80];
	struct vmm_override overrides[] = { { "disk", disk[1] }, { "vsock", vsock[1] } };
	struct vmm_memory_status status;
	struct guest g;
	struct err e = { 0 };
	struct vmm_restore c;
	struct place p, q;
	struct vmm *vm;
	struct stat st;
	int peer, console[2];

	make_count(&g, shape, false, false);
	make_place(&p);
	make_place(&q);
	for (int i = 0; i < 2; i++) {
		make_disk(disk[i], sizeof disk[i], &p, i ? "disk-1" : "disk-0");
		snprintf(vsock[i], sizeof vsock[i], "%s/vsock-%d", p.dir, i);
	}
	make_disk(pmem, sizeof pmem, &p, "pmem");
	snprintf(passt, sizeof passt, "%s/passt", p.dir);
	ok(unix_listen(passt, 0600, &peer, &e), &e);
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
	char disk[80];
	struct vmm_override override = { "disk", disk };
	struct guest g;
	struct err e = { 0 };
	struct vmm_restore c;
	struct place p;

	make_count(&g, VMM_SHAPE_MICRO, false, false);
	make_place(&p);
	make_disk(disk, sizeof disk, &p, "disk");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_vsock_device_at_another_path),
		cmocka_unit_test(test_devices_come_back),
		cmocka_unit_test(test_devices_come_back_on_pci),
		cmocka_unit_test(test_a_descriptor_has_to_be_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

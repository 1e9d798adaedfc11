/* SPDX-License-Identifier: Apache-2.0 */
/* A driver that finds everything through the capabilities, against a fake device and the real vsock device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/unix_socket.h"
#include "pci/fake_machine.h"
#include "pci/virtio_pci.h"
#include "virtio/fake_device.h"
#include "virtio/fake_driver.h"
#include "vsock/packet.h"
#include "vsock/vsock.h"

#define SLOT     1
#define DATA     0x10000
#define MSI_BASE 0xfee01000U

#define STATUS 0x14
#define ON     (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

struct fixture {
	struct fake_machine m;
	struct fake_device *dev; /* NULL: another */
	struct fake_queue q[FAKE_DEVICE_QUEUES];
	/* What the capabilities say. */
	uint64_t common, isr, config, notify, table, pba;
	uint32_t multiplier;
	unsigned access, msix;
};

static void discover(struct fixture *x)
{
	uint64_t bar = fake_config_read(&x->m, SLOT, PCI_BAR0, 4) & ~15U;
	unsigned at = 0;

	while ((at = fake_find_capability(&x->m, SLOT, at, PCI_CAP_VENDOR))) {
		uint64_t where = bar + fake_config_read(&x->m, SLOT, at + 8, 4);

		assert_int_equal(fake_config_read(&x->m, SLOT, at + 4, 1), 0);
		assert_true(fake_config_read(&x->m, SLOT, at + 2, 1) >= 16);
		switch (fake_config_read(&x->m, SLOT, at + 3, 1)) {
		case 1:
			x->common = where;
			assert_int_equal(fake_config_read(&x->m, SLOT, at + 12, 4), 0x38);
			break;
		case 2:
			x->notify = where;
			x->multiplier = fake_config_read(&x->m, SLOT, at + 16, 4);
			break;
		case 3:
			x->isr = where;
			break;
		case 4:
			x->config = where;
			break;
		case 5:
			x->access = at;
			break;
		default:
			fail();
		}
	}
	x->msix = fake_find_capability(&x->m, SLOT, 0, PCI_CAP_MSIX);
	x->table = bar + fake_config_read(&x->m, SLOT, x->msix + 4, 4);
	x->pba = bar + fake_config_read(&x->m, SLOT, x->msix + 8, 4);
}

static void plug(struct fixture *x, struct virtio_device *dev)
{
	struct pci_function *f;

	assert_int_equal(virtio_pci_new(&x->m.platform.platform, x->m.loop, dev, &f, NULL), 0);
	assert_int_equal(pci_bus_add(x->m.pci, f, SLOT, NULL), SLOT);
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof *x);

	log_set_level(LOG_LEVEL_ERROR);
	fake_machine_init(&x->m);
	x->dev = fake_device_new(x->m.mem);
	plug(x, &x->dev->base);
	discover(x);
	fake_config_write(&x->m, SLOT, PCI_COMMAND, ON, 2);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	fake_machine_fini(&x->m);
	free(x);
	return 0;
}

static uint64_t rd(struct fixture *x, uint64_t reg, uint32_t len)
{
	return fake_guest_read(x->m.mmio, x->common + reg, len);
}

static void wr(struct fixture *x, uint64_t reg, uint64_t value, uint32_t len)
{
	fake_guest_write(&x->m.platform, x->m.mmio, x->common + reg, value, len);
}

static bool notify(struct fixture *x, unsigned queue)
{
	uint64_t off;

	wr(x, 0x16, queue, 2);
	off = rd(x, 0x1e, 2);
	return fake_guest_write(&x->m.platform, x->m.mmio, x->notify + off * x->multiplier, queue, 2);
}

/* Vector i sends MSI_BASE, i. */
static void enable_msix(struct fixture *x, unsigned n)
{
	fake_config_write(&x->m, SLOT, x->msix + 2, 0xc000, 2);
	for (unsigned i = 0; i < n; i++) {
		fake_guest_write(&x->m.platform, x->m.mmio, x->table + 16 * i, MSI_BASE, 8);
		fake_guest_write(&x->m.platform, x->m.mmio, x->table + 16 * i + 8, i, 8);
	}
	fake_config_write(&x->m, SLOT, x->msix + 2, 0x8000, 2);
}

static unsigned messages(struct fixture *x, unsigned vector)
{
	struct fake_msi *m = fake_find_msi(&x->m.platform, MSI_BASE, vector);

	return m ? fake_interrupts(m->fd) : 0;
}

static void set_queue(struct fixture *x, unsigned i, uint16_t vector)
{
	struct fake_queue *q = &x->q[i];

	fake_init(q, x->m.ram, 0x1000 * (i + 1), 8);
	memset(x->m.ram + q->desc, 0, 0x1000);
	wr(x, 0x16, i, 2);
	assert_true(rd(x, 0x18, 2) >= 8);
	assert_int_equal(rd(x, 0x1c, 2), 0);
	wr(x, 0x18, 8, 2);
	wr(x, 0x20, (uint32_t)q->desc, 4);
	wr(x, 0x24, 0, 4);
	wr(x, 0x28, (uint32_t)q->avail, 4);
	wr(x, 0x2c, 0, 4);
	wr(x, 0x30, (uint32_t)q->used, 4);
	wr(x, 0x34, 0, 4);
	wr(x, 0x1a, vector, 2);
	assert_int_equal(rd(x, 0x1a, 2), vector);
	wr(x, 0x1c, 1, 2);
	assert_int_equal(rd(x, 0x1c, 2), 1);
}

/* §3.1.1 and §4.1.5.1, up to DRIVER_OK. msix: vector 0 for configuration, 1 + n for queue n. */
static void start(struct fixture *x, unsigned n, bool msix)
{
	wr(x, STATUS, 0, 1);
	assert_int_equal(rd(x, STATUS, 1), 0);
	if (msix)
		enable_msix(x, n + 1);
	wr(x, STATUS, 1, 1);
	wr(x, STATUS, 3, 1);
	for (uint32_t i = 0; i < 2; i++) {
		wr(x, 0x00, i, 4);
		wr(x, 0x08, i, 4);
		wr(x, 0x0c, rd(x, 0x04, 4), 4);
		assert_int_equal(rd(x, 0x0c, 4), rd(x, 0x04, 4));
	}
	wr(x, STATUS, 11, 1);
	assert_int_equal(rd(x, STATUS, 1), 11);
	if (msix)
		wr(x, 0x10, 0, 2);
	for (unsigned i = 0; i < n; i++)
		set_queue(x, i, msix ? (uint16_t)(i + 1) : 0xffff);
	wr(x, STATUS, 15, 1);
	assert_int_equal(rd(x, STATUS, 1), 15);
}

static void submit(struct fixture *x, unsigned queue)
{
	fake_desc(&x->q[queue], 0, DATA, 16, FAKE_WRITE, 0);
	fake_submit(&x->q[queue], 0);
}

/* Take a used buffer, and ask for an interrupt with the next one. */
static bool used(struct fixture *x, unsigned queue)
{
	uint32_t id, len;
	bool got = fake_used(&x->q[queue], &id, &len) && len == 16;

	fake_set_used_event(&x->q[queue], x->q[queue].used_idx);
	return got;
}

static void turn(struct fixture *x)
{
	assert_int_equal(loop_run_once(x->m.loop, 0), 0);
}

static void test_identity(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(fake_config_read(&x->m, SLOT, 0, 4), (0x1040 + FAKE_DEVICE_TYPE) << 16 | 0x1af4);
	assert_true(fake_config_read(&x->m, SLOT, PCI_REVISION, 1) >= 1);
	assert_true(fake_config_read(&x->m, SLOT, PCI_SUBSYSTEM + 2, 2) >= 0x40);
	assert_int_equal(fake_config_read(&x->m, SLOT, 0x3d, 1), 0); /* no interrupt pin */
	assert_int_equal(rd(x, 0x12, 2), FAKE_DEVICE_QUEUES);
	assert_int_equal(fake_config_read(&x->m, SLOT, x->msix + 2, 2), FAKE_DEVICE_QUEUES); /* one more vector */
	assert_int_equal(rd(x, 0x10, 2), 0xffff);
	assert_int_equal(x->multiplier, 4);
	assert_int_equal(x->access && x->isr && x->config && x->notify && x->common, 1);
}

static void test_kick_and_interrupt(void **state)
{
	struct fixture *x = *state;

	start(x, 3, true);
	assert_int_equal(fake_platform_kicks(&x->m.platform), 3);
	submit(x, 1);
	assert_true(notify(x, 1));
	assert_false(used(x, 1));
	turn(x);
	assert_true(used(x, 1));
	assert_int_equal(messages(x, 2), 1);
	assert_int_equal(messages(x, 0) + messages(x, 1) + messages(x, 3), 0);
	assert_int_equal(fake_guest_read(x->m.mmio, x->isr, 1), 0);

	x->dev->base.transport->ops->signal_config(x->dev->base.transport);
	assert_int_equal(messages(x, 0), 1);
	/* Masked by the table: pending, and delivered later. */
	fake_guest_write(&x->m.platform, x->m.mmio, x->table + 16 * 2 + 12, 1, 4);
	submit(x, 1);
	notify(x, 1);
	turn(x);
	assert_int_equal(messages(x, 2), 0);
	assert_int_equal(fake_guest_read(x->m.mmio, x->pba, 8), 1 << 2);
	fake_guest_write(&x->m.platform, x->m.mmio, x->table + 16 * 2 + 12, 0, 4);
	assert_int_equal(messages(x, 2), 1);
	assert_int_equal(fake_guest_read(x->m.mmio, x->pba, 8), 0);
	assert_int_equal(fake_find_msi(&x->m.platform, MSI_BASE, 2)->requester, SLOT << 3);
}

static void test_kick_by_bus(void **state)
{
	struct fixture *x = *state;

	x->m.platform.fail_kicks = true;
	start(x, 1, true);
	submit(x, 0);
	assert_false(notify(x, 0));
	assert_true(used(x, 0));
	fake_guest_write(&x->m.platform, x->m.mmio, x->notify + 4 * FAKE_DEVICE_QUEUES, 0, 2);
	fake_guest_write(&x->m.platform, x->m.mmio, x->notify + 0xffe, 0, 2);
	submit(x, 0);
	fake_guest_write(&x->m.platform, x->m.mmio, x->notify + 2, 0, 2); /* between two queues */
	assert_false(used(x, 0));
}

static void test_vectors(void **state)
{
	struct fixture *x = *state;
	static const uint32_t bad[] = { FAKE_DEVICE_QUEUES + 1, 0x7fff, 0xffff };

	for (size_t i = 0; i < 3; i++) {
		wr(x, 0x10, 2, 2);
		assert_int_equal(rd(x, 0x10, 2), 2);
		wr(x, 0x10, bad[i], 2);
		assert_int_equal(rd(x, 0x10, 2), 0xffff);
		wr(x, 0x16, 1, 2);
		wr(x, 0x1a, FAKE_DEVICE_QUEUES, 2);
		assert_int_equal(rd(x, 0x1a, 2), FAKE_DEVICE_QUEUES);
		wr(x, 0x1a, bad[i], 2);
		assert_int_equal(rd(x, 0x1a, 2), 0xffff);
	}
	/* Queues without a vector and with the same one. */
	start(x, 3, true);
	for (unsigned i = 0; i < 3; i++) {
		wr(x, 0x16, i, 2);
		wr(x, 0x1a, i == 2 ? 0xffff : 1, 2);
		submit(x, i);
		notify(x, i);
	}
	turn(x);
	assert_true(used(x, 0) && used(x, 1) && used(x, 2));
	assert_int_equal(messages(x, 1), 2);
	assert_int_equal(messages(x, 2) + messages(x, 3), 0);
	wr(x, STATUS, 0, 1);
	wr(x, 0x16, 0, 2);
	assert_int_equal(rd(x, 0x1a, 2), 0xffff);
	assert_int_equal(fake_platform_kicks(&x->m.platform), 0);
}

static void test_isr(void **state)
{
	struct fixture *x = *state;

	start(x, 1, false);
	fake_guest_read(x->m.mmio, x->isr, 1);
	submit(x, 0);
	notify(x, 0);
	turn(x);
	x->dev->base.transport->ops->signal_config(x->dev->base.transport);
	assert_int_equal(fake_guest_read(x->m.mmio, x->isr, 4), 0); /* not its width */
	assert_int_equal(fake_guest_read(x->m.mmio, x->isr, 1), 3);
	assert_int_equal(fake_guest_read(x->m.mmio, x->isr, 1), 0);
}

static void test_queue_select(void **state)
{
	struct fixture *x = *state;

	start(x, 1, false);
	wr(x, STATUS, 0, 1);
	wr(x, 0x16, FAKE_DEVICE_QUEUES, 2);
	assert_int_equal(rd(x, 0x16, 2), FAKE_DEVICE_QUEUES);
	for (uint64_t reg = 0x18; reg < 0x20; reg += 2) {
		wr(x, reg, 1, 2);
		assert_int_equal(rd(x, reg, 2), reg == 0x1a ? 0xffff : 0);
	}
	for (uint64_t reg = 0x20; reg < 0x38; reg += 4) {
		wr(x, reg, 1, 4);
		assert_int_equal(rd(x, reg, 4), 0);
	}
	for (unsigned i = 0; i < FAKE_DEVICE_QUEUES; i++) {
		wr(x, 0x16, i, 2);
		assert_int_equal(rd(x, 0x18, 2), FAKE_DEVICE_MAX);
		assert_int_equal(rd(x, 0x1e, 2), i);
	}
}

static void test_addresses_read_back(void **state)
{
	struct fixture *x = *state;

	start(x, 1, false);
	wr(x, STATUS, 0, 1);
	wr(x, STATUS, 3, 1);
	for (uint32_t i = 0; i < 2; i++) {
		wr(x, 0x08, i, 4);
		wr(x, 0x0c, i, 4);
	}
	wr(x, STATUS, 11, 1);
	wr(x, 0x16, 0, 2);
	for (uint64_t reg = 0x20; reg < 0x38; reg += 4)
		wr(x, reg, 0x11110000 + (uint32_t)reg, 4);
	for (uint64_t reg = 0x20; reg < 0x38; reg += 4)
		assert_int_equal(rd(x, reg, 4), 0x11110000 + reg);
	wr(x, 0x1c, 1, 2);
	wr(x, 0x1c, 0, 2); /* does not stop a queue here */
	assert_int_equal(rd(x, 0x1c, 2), 1);
	wr(x, STATUS, 15, 1);
	assert_int_equal(rd(x, STATUS, 1), 15 | 64);
}

/* Each field of the common structure takes its own width only. */
static void test_widths(void **state)
{
	struct fixture *x = *state;
	static const struct {
		uint64_t begin, end;
		uint32_t width;
	} fields[] = { { 0x00, 0x10, 4 }, { 0x10, 0x14, 2 }, { 0x14, 0x16, 1 }, { 0x16, 0x20, 2 }, { 0x20, 0x38, 4 } };

	start(x, 1, false);
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		for (uint64_t reg = fields[i].begin; reg < fields[i].end; reg++) {
			for (uint32_t len = 1; len <= 8; len *= 2) {
				if (len == fields[i].width && reg % len == 0)
					continue;
				assert_int_equal(rd(x, reg, len), 0);
				wr(x, reg, 0, len);
			}
		}
	}
	assert_int_equal(rd(x, STATUS, 1), 15);
	assert_int_equal(rd(x, 0x1c, 2), 1);
	assert_int_equal(rd(x, 0x38, 2), 0);
	/* Every place of the BAR with every width: it comes back after a reset. */
	for (uint64_t at = 0; at < 0x8000; at += at % 0x1000 < 0x80 ? 1 : 61) {
		for (uint32_t len = 1; len <= 8; len *= 2) {
			rd(x, at, len);
			wr(x, at, UINT64_MAX, len);
			wr(x, at, 1, len);
		}
	}
	turn(x);
	start(x, 3, true);
	submit(x, 2);
	notify(x, 2);
	turn(x);
	assert_true(used(x, 2));
	assert_int_equal(messages(x, 3), 1);
}

static void test_device_config(void **state)
{
	struct fixture *x = *state;
	uint64_t generation;

	start(x, 1, true);
	fake_guest_write(&x->m.platform, x->m.mmio, x->config + 3, 0xabcd, 2);
	assert_int_equal(fake_guest_read(x->m.mmio, x->config, 8), 0x000000abcd000000);
	assert_int_equal(fake_guest_read(x->m.mmio, x->config + 0xff8, 8), 0);
	generation = rd(x, 0x15, 1);
	x->dev->base.transport->ops->signal_config(x->dev->base.transport);
	assert_int_equal(rd(x, 0x15, 1), (generation + 1) & 0xff);
}

/* §4.1.4.9: the status register through configuration space. */
static void test_config_access(void **state)
{
	struct fixture *x = *state;
	unsigned a = x->access;

	fake_config_write(&x->m, SLOT, PCI_COMMAND, 0, 2); /* no BAR needed */
	fake_config_write(&x->m, SLOT, a + 4, 0, 1);
	fake_config_write(&x->m, SLOT, a + 8, STATUS, 4);
	fake_config_write(&x->m, SLOT, a + 12, 1, 4);
	fake_config_write(&x->m, SLOT, a + 16, 3, 4);
	assert_int_equal(fake_config_read(&x->m, SLOT, a + 16, 4), 3);
	fake_config_write(&x->m, SLOT, a + 16, 0, 1);
	assert_int_equal(fake_config_read(&x->m, SLOT, a + 16, 1), 0);
	fake_config_write(&x->m, SLOT, a + 8, 0x12, 4);
	fake_config_write(&x->m, SLOT, a + 12, 2, 4);
	assert_int_equal(fake_config_read(&x->m, SLOT, a + 16, 2), FAKE_DEVICE_QUEUES);
	/* Bad ones do nothing: another BAR, a bad length, not aligned, beyond the end. */
	static const struct {
		uint32_t bar, offset, length;
	} bad[] = { { 1, STATUS, 1 }, { 0, STATUS, 3 }, { 0, STATUS, 0 },    { 0, STATUS, 0xffffffff },
		    { 0, 0x13, 2 },   { 0, 0x8000, 1 }, { 0, 0xfffffff0, 4 } };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		fake_config_write(&x->m, SLOT, a + 4, bad[i].bar, 1);
		fake_config_write(&x->m, SLOT, a + 8, bad[i].offset, 4);
		fake_config_write(&x->m, SLOT, a + 12, bad[i].length, 4);
		fake_config_write(&x->m, SLOT, a + 16, 1, 4);
		assert_int_equal(fake_config_read(&x->m, SLOT, a + 16, 4), 1);
	}
	fake_config_write(&x->m, SLOT, PCI_COMMAND, ON, 2);
	assert_int_equal(rd(x, STATUS, 1), 0);
}

static void test_kicks_follow_the_bar(void **state)
{
	struct fixture *x = *state;

	start(x, 2, true);
	assert_int_equal(fake_platform_kicks(&x->m.platform), 2);
	fake_config_write(&x->m, SLOT, PCI_COMMAND, 0, 2);
	assert_int_equal(fake_platform_kicks(&x->m.platform), 0);
	fake_config_write(&x->m, SLOT, PCI_BAR0, FAKE_WIN32 + 0x80000, 4);
	fake_config_write(&x->m, SLOT, PCI_COMMAND, ON, 2);
	assert_int_equal(fake_platform_kicks(&x->m.platform), 2);
	discover(x);
	submit(x, 1);
	assert_true(notify(x, 1));
	turn(x);
	assert_true(used(x, 1));
	wr(x, STATUS, 0, 1);
	assert_int_equal(fake_platform_kicks(&x->m.platform), 0);
}

/* PCI 3.0 §6.2.2, bit 2: without bus mastering no memory is read or written, and no message sent. */
static void test_bus_master(void **state)
{
	struct fixture *x = *state;
	uint64_t generation;

	start(x, 2, true);
	submit(x, 0);
	notify(x, 0);
	turn(x);
	assert_true(used(x, 0));
	assert_int_equal(messages(x, 1), 1);

	fake_config_write(&x->m, SLOT, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	submit(x, 0);
	assert_true(notify(x, 0)); /* registers and kicks are as ever */
	turn(x);
	assert_false(used(x, 0));
	generation = rd(x, 0x15, 1);
	x->dev->base.transport->ops->signal_config(x->dev->base.transport);
	assert_int_equal(rd(x, 0x15, 1), (generation + 1) & 0xff);
	assert_int_equal(messages(x, 0) + messages(x, 1), 0);
	/* A pause in between changes nothing, nor does its end. */
	pci_bus_pause(x->m.pci);
	pci_bus_resume(x->m.pci);
	turn(x);
	assert_false(used(x, 0));
	assert_int_equal(messages(x, 0) + messages(x, 1), 0);

	fake_config_write(&x->m, SLOT, PCI_COMMAND, ON, 2);
	assert_true(used(x, 0));
	assert_int_equal(messages(x, 1), 1);
	assert_int_equal(messages(x, 0), 1);
}

static void test_no_bus_master_at_start(void **state)
{
	struct fixture *x = *state;

	fake_config_write(&x->m, SLOT, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	start(x, 1, true);
	submit(x, 0);
	notify(x, 0);
	turn(x);
	assert_false(used(x, 0));
	assert_int_equal(rd(x, STATUS, 1), 15);
	/* What a pause finds is kept by it. */
	pci_bus_pause(x->m.pci);
	fake_config_write(&x->m, SLOT, PCI_COMMAND, ON, 2);
	turn(x);
	assert_false(used(x, 0));
	pci_bus_resume(x->m.pci);
	assert_true(used(x, 0));
	assert_int_equal(messages(x, 1), 1);
	wr(x, STATUS, 0, 1);
	assert_int_equal(rd(x, STATUS, 1), 0);
	start(x, 1, true);
	submit(x, 0);
	notify(x, 0);
	turn(x);
	assert_true(used(x, 0));
}

static void test_needs_reset(void **state)
{
	struct fixture *x = *state;

	start(x, 1, true);
	fake_submit(&x->q[0], 77);
	notify(x, 0);
	turn(x);
	assert_int_equal(rd(x, STATUS, 1), 15 | 64);
	assert_int_equal(messages(x, 0), 1);
	start(x, 1, true);
	submit(x, 0);
	notify(x, 0);
	turn(x);
	assert_true(used(x, 0));
}

static void test_reset_in_the_middle(void **state)
{
	struct fixture *x = *state;

	start(x, 1, true);
	x->dev->hold = true;
	submit(x, 0);
	notify(x, 0);
	turn(x);
	assert_true(x->dev->holding);
	submit(x, 0);
	assert_true(notify(x, 0));
	wr(x, STATUS, 0, 1);
	turn(x);
	assert_false(used(x, 0));
	x->dev->hold = false;
	start(x, 1, true);
	submit(x, 0);
	notify(x, 0);
	turn(x);
	assert_true(used(x, 0));
}

static void test_move(void **state)
{
	struct fixture *x = *state;
	struct state *s;

	start(x, 2, true);
	submit(x, 0);
	notify(x, 0);
	turn(x);
	assert_true(used(x, 0));
	submit(x, 0);
	notify(x, 0); /* not seen when the machine stops */
	wr(x, 0x16, 1, 2);
	fake_guest_write(&x->m.platform, x->m.mmio, x->table + 16 * 2 + 12, 1, 4);
	assert_int_equal(state_new(&s), 0);
	pci_bus_pause(x->m.pci);
	turn(x);
	pci_bus_save(x->m.pci, s);
	pci_bus_free(x->m.pci);
	fake_machine_add_bus(&x->m);
	x->dev = fake_device_new(x->m.mem);
	plug(x, &x->dev->base);
	assert_int_equal(pci_bus_load(x->m.pci, s, NULL), 0);
	assert_int_equal(fake_platform_kicks(&x->m.platform), 2);
	assert_int_equal(rd(x, STATUS, 1), 15);
	assert_int_equal(rd(x, 0x16, 2), 1);
	assert_int_equal(rd(x, 0x1a, 2), 2);
	assert_false(used(x, 0));
	pci_bus_resume(x->m.pci);
	assert_true(used(x, 0));
	assert_true(messages(x, 1) >= 1);
	submit(x, 1);
	notify(x, 1);
	turn(x);
	assert_true(used(x, 1));
	assert_int_equal(messages(x, 2), 0);
	fake_guest_write(&x->m.platform, x->m.mmio, x->table + 16 * 2 + 12, 0, 4);
	assert_int_equal(messages(x, 2), 1);

	/* Parts of the state are missing. */
	pci_bus_free(x->m.pci);
	fake_machine_add_bus(&x->m);
	x->dev = fake_device_new(x->m.mem);
	plug(x, &x->dev->base);
	state_put_u64(state_child_n(s, "slot", SLOT), "isr", 4);
	assert_int_equal(pci_bus_load(x->m.pci, s, NULL), -EINVAL);
	state_put_u64(state_child_n(s, "slot", SLOT), "virtio", 4);
	assert_true(pci_bus_load(x->m.pci, s, NULL) < 0);
	state_free(s);
}

static void test_eject_resets(void **state)
{
	struct fixture *x = *state;
	unsigned resets;

	start(x, 2, true);
	resets = x->dev->resets;
	pci_bus_ejected(x->m.pci, SLOT);
	assert_int_equal(x->dev->resets, resets + 1);
	assert_int_equal(fake_platform_kicks(&x->m.platform), 0);
	assert_int_equal(fake_platform_msis(&x->m.platform), 0);
	fake_config_write(&x->m, SLOT, PCI_COMMAND, ON, 2);
	start(x, 1, true);
}

static void test_never_plugged(void **state)
{
	struct fixture *x = *state;
	struct pci_function *f;
	bool freed = false;
	struct fake_device *dev = fake_device_new(x->m.mem);

	dev->freed = &freed;
	assert_int_equal(virtio_pci_new(&x->m.platform.platform, x->m.loop, &dev->base, &f, NULL), 0);
	pci_function_free(f);
	assert_true(freed);
	pci_function_free(NULL);
}

/* Behind a port it is an endpoint of PCI Express, on the root bus it is not. */
static void test_behind_a_port(void **state)
{
	struct fixture *x = *state;
	struct pci_function *f;
	struct fake_device *dev = fake_device_new(x->m.mem);
	unsigned at;

	assert_int_equal(fake_find_capability(&x->m, SLOT, 0, PCI_CAP_EXPRESS), 0);
	pci_bus_free(x->m.pci);
	fake_machine_add_bus_with_ports(&x->m, 1);
	assert_int_equal(virtio_pci_new(&x->m.platform.platform, x->m.loop, &dev->base, &f, NULL), 0);
	assert_int_equal(pci_bus_add(x->m.pci, f, PCI_SLOTS, NULL), PCI_SLOTS);
	for (at = f->config.data[PCI_CAPABILITY_LIST]; f->config.data[at] != PCI_CAP_EXPRESS;
	     at = f->config.data[at + 1])
		assert_int_not_equal(at, 0);
	assert_int_equal(pci_config_get16(&f->config, at + 2), 2);
	assert_int_equal(pci_config_get16(&f->config, at + 0x12), 0x11);
}

static void test_vsock(void **state)
{
	struct fixture *x = *state;
	char dir[] = "/tmp/virtio_pci_test_XXXXXX", path[64];
	struct virtio_device *dev;
	unsigned got = 0;
	struct vsock_hdr hdr;
	int fd = -1;

	assert_int_equal(pci_bus_remove(x->m.pci, SLOT), 0);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/v", dir);
	assert_int_equal(vsock_device_new(x->m.loop, path, 5, &dev, NULL), 0);
	dev->mem = x->m.mem;
	plug(x, dev);
	discover(x);
	fake_config_write(&x->m, SLOT, PCI_COMMAND, ON, 2);
	assert_int_equal(fake_config_read(&x->m, SLOT, 2, 2), 0x1053);
	start(x, 3, true);
	assert_int_equal(fake_guest_read(x->m.mmio, x->config, 8), 5);
	fake_desc(&x->q[0], 0, DATA, 4096, FAKE_WRITE, 0);
	fake_submit(&x->q[0], 0);
	notify(x, 0);
	assert_int_equal(unix_connect(path, &fd), 0);
	assert_int_equal(send(fd, "CONNECT 7\n", 10, MSG_NOSIGNAL), 10);
	for (int i = 0; i < 1000 && !(got = messages(x, 1)); i++)
		assert_int_equal(loop_run_once(x->m.loop, 100), 0);
	assert_true(got >= 1);
	memcpy(&hdr, x->m.ram + DATA, sizeof hdr);
	assert_int_equal(le16_get(hdr.op), VSOCK_OP_REQUEST);
	assert_int_equal(le32_get(hdr.dst_port), 7);
	close(fd);
	assert_int_equal(pci_bus_remove(x->m.pci, SLOT), 0);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kick_and_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kick_by_bus, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_isr, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue_select, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses_read_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_widths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config_access, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kicks_follow_the_bar, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bus_master, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_bus_master_at_start, setup, teardown),
		cmocka_unit_test_setup_teardown(test_needs_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_in_the_middle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_move, setup, teardown),
		cmocka_unit_test_setup_teardown(test_eject_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_never_plugged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_behind_a_port, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vsock, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver: the input is a program of 8-byte steps that write and read the BAR and the configuration space in
 * any width, spoil guest memory, kick, let the device work, pause and move it. The first byte chooses between a fake
 * device, in slot 1 and made anew for each input, and the vsock device, in slot 2, which lives on (its listener is
 * expensive).
 */
#include <stdio.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/unix_socket.h"
#include "pci/fake_machine.h"
#include "pci/virtio_pci.h"
#include "virtio/fake_device.h"
#include "virtio/fake_driver.h"
#include "vsock/vsock.h"

#define SLOT       1
#define VSOCK_SLOT 2

#define DEVICE_CONFIG 0x2000U
#define NOTIFY        0x3000U
#define MSIX_TABLE    0x4000U

static struct fake_machine m;
static char path[64];
static uint64_t vsock_bar;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void cleanup(void)
{
	unlink(path);
	*strrchr(path, '/') = 0;
	rmdir(path);
}

static void plug(struct virtio_device *dev, int slot)
{
	struct pci_function *f;

	if (virtio_pci_new(&m.platform.platform, m.loop, dev, &f, NULL) < 0 ||
	    pci_bus_add(m.pci, f, slot, NULL) != slot)
		abort();
}

static void begin(void)
{
	char dir[] = "/tmp/virtio_pci_fuzz_XXXXXX";
	struct virtio_device *dev;

	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof path, "%s/v", dir);
	atexit(cleanup);
	log_set_level(LOG_LEVEL_ERROR);
	fake_machine_init(&m);
	if (vsock_device_new(m.loop, path, 5, &dev, NULL) < 0)
		abort();
	dev->mem = m.mem;
	plug(dev, VSOCK_SLOT);
	vsock_bar = fake_config_read(&m, VSOCK_SLOT, PCI_BAR0, 4);
}

static uint64_t bar_of(unsigned slot)
{
	return fake_config_read(&m, slot, PCI_BAR0, 4) & ~15U;
}

static void wr(unsigned slot, uint64_t reg, uint64_t value, uint32_t len)
{
	fake_guest_write(&m.platform, m.mmio, bar_of(slot) + reg, value, len);
}

static uint64_t rd(unsigned slot, uint64_t reg, uint32_t len)
{
	return fake_guest_read(m.mmio, bar_of(slot) + reg, len);
}

static void set_queue(unsigned slot, unsigned i)
{
	struct fake_queue q;

	fake_init(&q, m.ram, 0x1000 * (i + 1), 16);
	memset(m.ram + q.desc, 0, 0x1000);
	wr(slot, 0x16, i, 2);
	wr(slot, 0x18, 16, 2);
	for (unsigned high = 0; high < 2; high++) {
		wr(slot, 0x20 + 4 * high, high ? 0 : q.desc, 4);
		wr(slot, 0x28 + 4 * high, high ? 0 : q.avail, 4);
		wr(slot, 0x30 + 4 * high, high ? 0 : q.used, 4);
	}
	wr(slot, 0x1a, i + 1, 2);
	wr(slot, 0x1c, 1, 2);
}

/* An honest driver's start, so that the steps behind it meet a live device. */
static void start(unsigned slot, unsigned skip)
{
	unsigned msix = fake_find_capability(&m, slot, 0, PCI_CAP_MSIX);

	fake_config_write(&m, slot, PCI_BAR0, (uint32_t)(slot == SLOT ? FAKE_WIN32 + 0x40000 : vsock_bar), 4);
	fake_config_write(&m, slot, PCI_COMMAND,
			  skip & 16 ? PCI_COMMAND_MEMORY : PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	fake_config_write(&m, slot, msix + 2, skip & 8 ? 0 : 0x8000, 2);
	for (unsigned i = 0; i < 4; i++) {
		wr(slot, MSIX_TABLE + 16 * i, 0xfee00000, 8);
		wr(slot, MSIX_TABLE + 16 * i + 8, i, 8);
	}
	for (unsigned status = 0; status <= 3; status++)
		wr(slot, 0x14, status & 2 ? 3 : status, 1);
	for (uint32_t i = 0; i < 2; i++) {
		wr(slot, 0x00, i, 4);
		wr(slot, 0x08, i, 4);
		wr(slot, 0x0c, rd(slot, 0x04, 4), 4);
	}
	wr(slot, 0x14, 11, 1);
	wr(slot, 0x10, 0, 2);
	for (unsigned i = 0; i < 3; i++)
		if (!(skip & 1U << i))
			set_queue(slot, i);
	wr(slot, 0x14, 15, 1);
}

static void submit(unsigned slot, const uint8_t *op)
{
	struct fake_queue q;
	uint16_t head = op[2] % 32;

	fake_init(&q, m.ram, 0x1000 * (op[1] % 3 + 1U), 16);
	q.avail_idx = fake_load16(&q, q.avail + 2);
	if (head < 16)
		fake_desc(&q, head, (gpa_t)op[3] << 10, op[4] * 64U, op[5] & 7, op[6] % 17);
	fake_submit(&q, head);
	wr(slot, NOTIFY + 4 * (op[7] & 1 ? op[1] % 3U : op[7]), 0, 2);
}

/* Save the fake device and go on with another one. */
static void move(void)
{
	struct pci_function *f = pci_bus_function(m.pci, SLOT);
	struct state *s;

	if (state_new(&s) < 0)
		abort();
	f->ops->pause(f);
	pci_function_save(f, s);
	pci_bus_remove(m.pci, SLOT);
	plug(&fake_device_new(m.mem)->base, SLOT);
	f = pci_bus_function(m.pci, SLOT);
	if (pci_function_load(f, s, NULL) < 0)
		abort();
	state_free(s);
	f->ops->resume(f);
}

static void step(unsigned slot, const uint8_t *op)
{
	static const uint64_t blocks[] = { 0, 0, DEVICE_CONFIG, MSIX_TABLE, 0x1000, NOTIFY, 0x5000, 0x7f80 };
	uint64_t reg = blocks[op[2] % 8] + op[1];
	uint32_t value, len = 1U << op[3] % 4;

	memcpy(&value, op + 4, sizeof value);
	switch (op[0] % 11) {
	case 0: /* a register of the common structure in its width, mostly */
		wr(slot, op[1] % 0x38, op[3] & 0x80 ? value : op[4], op[3] & 0x40 ? 4 : op[1] % 0x38 < 0x20 ? 2 : 4);
		break;
	case 1:
		wr(slot, 0x14, op[1], 1);
		break;
	case 2:
		wr(slot, reg, value, len);
		break;
	case 3:
		rd(slot, reg, len);
		break;
	case 4:
		memcpy(m.ram + ((op[1] | op[2] << 8) & 0xfffc), &value, sizeof value);
		break;
	case 5:
		start(slot, op[1] & 0x80 ? op[2] : 0);
		break;
	case 6:
	case 7:
		submit(slot, op);
		break;
	case 8:
		fake_config_write(&m, slot, op[1], value, 1U << op[3] % 3);
		fake_config_read(&m, slot, op[2], 1U << op[3] % 3);
		break;
	case 9:
		pci_bus_pause(m.pci);
		loop_run_once(m.loop, 0);
		pci_bus_resume(m.pci);
		break;
	case 10:
		if (op[1] & 1)
			pci_bus_ejected(m.pci, slot);
		else if (slot == SLOT)
			move();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned slot = size && (data[0] & 1) ? VSOCK_SLOT : SLOT;
	int client = -1;

	if (!m.loop)
		begin();
	memset(m.ram, 0, FAKE_RAM);
	if (slot == SLOT) {
		struct fake_device *dev = fake_device_new(m.mem);

		dev->hold = size && (data[0] & 2);
		plug(&dev->base, SLOT);
	} else if (unix_connect(path, &client) == 0) {
		send(client, "CONNECT 1\n", 10, MSG_NOSIGNAL);
	}
	for (size_t i = 1; i + 8 <= size && i < 8 * 256; i += 8) {
		step(slot, data + i);
		loop_run_once(m.loop, 0);
	}
	/* Whatever happened: a reset and an honest start make it live again. */
	start(slot, 0);
	if (rd(slot, 0x14, 1) != 15)
		abort();
	wr(slot, 0x14, 0, 1);
	if (client >= 0)
		close(client);
	loop_run_once(m.loop, 0);
	if (slot == SLOT)
		pci_bus_remove(m.pci, SLOT);
	/* Without a live device nothing is attached. */
	pci_bus_ejected(m.pci, VSOCK_SLOT);
	if (fake_platform_kicks(&m.platform) || fake_platform_msis(&m.platform))
		abort();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver: the input is a program of 8-byte steps that write and read registers of any width, spoil guest
 * memory, kick, let the device work, pause and move it. The first byte chooses between a fake device, which is made
 * anew for each input, and the vsock device, which lives on (its listener is expensive) and is reset.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/unix_socket.h"
#include "hw/fake_platform.h"
#include "hw/virtio_mmio.h"
#include "virtio/fake_device.h"
#include "virtio/fake_driver.h"
#include "vsock/vsock.h"

#define RAM_SIZE   0x10000
#define BASE       0xc0001000ULL
#define VSOCK_BASE 0xc0002000ULL

static struct loop *loop;
static struct bus *bus;
static struct fake_platform platform;
static struct guestmem *mem;
static uint8_t *ram;
static struct virtio_mmio *vsock;
static char path[64];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void cleanup(void)
{
	unlink(path);
	*strrchr(path, '/') = 0;
	rmdir(path);
}

static void begin(void)
{
	char dir[] = "/tmp/mmio_fuzz_XXXXXX";
	struct virtio_device *dev;

	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof path, "%s/v", dir);
	atexit(cleanup);
	log_set_level(LOG_LEVEL_ERROR);
	fake_platform_init(&platform);
	ram = aligned_alloc(4096, RAM_SIZE);
	if (!ram || loop_new(&loop, NULL) < 0 || bus_new(&bus) < 0 || guestmem_new(&mem) < 0 ||
	    guestmem_add_buffer(mem, 0, RAM_SIZE, ram) < 0 || vsock_device_new(loop, path, 5, &dev, NULL) < 0)
		abort();
	dev->mem = mem;
	if (virtio_mmio_new(&platform.platform, bus, loop, VSOCK_BASE, 7, dev, &vsock, NULL) < 0)
		abort();
}

static void wr(uint64_t base, uint64_t reg, uint32_t value)
{
	fake_guest_write(&platform, bus, base + reg, value, 4);
}

/* An honest driver's start, so that the steps behind it meet a live device. */
static void start(uint64_t base, unsigned skip)
{
	static const uint8_t status[] = { 0, 1, 3 };

	for (size_t i = 0; i < sizeof status; i++)
		wr(base, 0x070, status[i]);
	for (uint32_t i = 0; i < 2; i++) {
		wr(base, 0x014, i);
		wr(base, 0x024, i);
		wr(base, 0x020, (uint32_t)fake_guest_read(bus, base + 0x010, 4));
	}
	wr(base, 0x070, 11);
	for (unsigned i = 0; i < 3; i++) {
		struct fake_queue q;

		if (skip & 1U << i)
			continue;
		fake_init(&q, ram, 0x1000 * (i + 1), 16);
		memset(ram + q.desc, 0, 0x1000);
		wr(base, 0x030, i);
		wr(base, 0x038, 16);
		wr(base, 0x080, (uint32_t)q.desc);
		wr(base, 0x090, (uint32_t)q.avail);
		wr(base, 0x0a0, (uint32_t)q.used);
		wr(base, 0x044, 1);
	}
	wr(base, 0x070, 15);
}

static void submit(uint64_t base, const uint8_t *op)
{
	struct fake_queue q;
	uint16_t head = op[2] % 32;

	fake_init(&q, ram, 0x1000 * (op[1] % 3 + 1U), 16);
	q.avail_idx = fake_load16(&q, q.avail + 2);
	if (head < 16)
		fake_desc(&q, head, (gpa_t)op[3] << 8, op[4] * 64U, op[5] & 7, op[6] % 17);
	fake_submit(&q, head);
	wr(base, 0x050, op[7] & 1 ? op[1] % 3 : op[7]);
}

/* Save it and go on with another one. */
static struct virtio_mmio *move(struct virtio_mmio *m)
{
	struct fake_device *dev = fake_device_new(mem);
	struct virtio_mmio *to = NULL;
	struct state *s;

	if (state_new(&s) < 0)
		abort();
	virtio_mmio_pause(m);
	virtio_mmio_save(m, s);
	virtio_mmio_free(m);
	if (virtio_mmio_new(&platform.platform, bus, loop, BASE, 6, &dev->base, &to, NULL) < 0 ||
	    virtio_mmio_load(to, s, NULL) < 0)
		abort();
	state_free(s);
	virtio_mmio_resume(to);
	return to;
}

static struct virtio_mmio *step(struct virtio_mmio *m, uint64_t base, const uint8_t *op)
{
	uint32_t value;

	memcpy(&value, op + 4, sizeof value);
	switch (op[0] % 10) {
	case 0:
	case 1:
		wr(base, op[1] % 72 * 4U, op[0] & 0x80 ? value : op[4]);
		break;
	case 2:
		fake_guest_write(&platform, bus, base + op[1] + (op[2] & 15) * 256U, value, 1U << op[3] % 4);
		break;
	case 3:
		fake_guest_read(bus, base + op[1] + (op[2] & 15) * 256U, 1U << op[3] % 4);
		break;
	case 4:
		memcpy(ram + ((op[1] | op[2] << 8) & (RAM_SIZE - 4)), &value, sizeof value);
		break;
	case 5:
		start(base, op[1] & 0x80 ? op[2] : 0);
		break;
	case 6:
	case 7:
		submit(base, op);
		break;
	case 8:
		virtio_mmio_pause(m);
		loop_run_once(loop, 0);
		virtio_mmio_resume(m);
		break;
	case 9:
		return m == vsock ? m : move(m);
	}
	return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t base = size && (data[0] & 1) ? VSOCK_BASE : BASE;
	struct virtio_mmio *m;
	int client = -1;

	if (!loop)
		begin();
	memset(ram, 0, RAM_SIZE);
	m = vsock;
	if (base == BASE) {
		struct fake_device *dev = fake_device_new(mem);

		dev->hold = size && (data[0] & 2);
		if (virtio_mmio_new(&platform.platform, bus, loop, BASE, 6, &dev->base, &m, NULL) < 0)
			abort();
	} else if (unix_connect(path, &client) == 0) {
		send(client, "CONNECT 1\n", 10, MSG_NOSIGNAL);
	}
	for (size_t i = 1; i + 8 <= size && i < 8 * 256; i += 8) {
		m = step(m, base, data + i);
		loop_run_once(loop, 0);
	}
	/* Whatever happened: a reset and an honest start make it live again. */
	start(base, 0);
	if (fake_guest_read(bus, base + 0x070, 4) != 15)
		abort();
	wr(base, 0x070, 0);
	if (client >= 0)
		close(client);
	loop_run_once(loop, 0);
	if (m != vsock)
		virtio_mmio_free(m);
	return 0;
}

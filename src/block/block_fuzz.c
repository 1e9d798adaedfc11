/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver: the input is a program of 8-byte steps that send requests of any shape on two queues, scribble over
 * rings and descriptors, replace the medium, change limits, reset and go on, with either engine. The image never grows,
 * and what the guest is told never comes from outside of it.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/log.h"
#include "block/state.h"
#include "virtio/fake_machine.h"

#define DISK (64 * 1024)

static struct loop *loop;
static struct fake_machine m;
static struct virtio_device *dev[2]; /* plain, io_uring */
static int image;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void start(void)
{
	char path[32];

	log_set_level(LOG_LEVEL_ERROR);
	image = memfd_create("disk", MFD_CLOEXEC);
	if (image < 0 || ftruncate(image, DISK) < 0 || loop_new(&loop, NULL) < 0)
		abort();
	snprintf(path, sizeof path, "/proc/self/fd/%d", image);
	for (int i = 0; i < 2; i++) {
		struct block_config c = {
			.path = path,
			.flush = true,
			.discard = true,
			.io_uring = i,
			.queues = 2,
			.queue_size = 64,
		};

		if (block_new(loop, &c, &dev[i], NULL) < 0)
			abort();
	}
	fake_machine_init(&m);
}

/* A request with its header, data of a size and a cut of the fuzzer's choice. */
static void send(const uint8_t *op)
{
	static const uint8_t types[] = { 0, 0, 1, 1, 4, 8, 11, 13, 2, 255 };
	uint64_t sector = op[3] == 255 ? UINT64_MAX - op[4] : op[3];
	struct block_hdr hdr = { le32_of(types[op[1] % 10]), { 0 }, le64_of(sector) };
	uint32_t len = op[2] % 16 * 512U + (op[2] & 0x80 ? op[4] : 0);
	bool in = types[op[1] % 10] == 0 || types[op[1] % 10] == 8;
	struct block_segment seg = { le64_of(sector), le32_of(op[4]), le32_of(op[5] & 3) };
	struct fake_buf b[4] = {
		{ .len = op[6] & 0x20 ? op[5] % 17U : sizeof hdr },
		{ .len = len, .write = in },
		{ .len = op[4], .write = in },
		{ .len = op[6] & 0x40 ? 0 : 1, .write = !(op[6] & 0x80) },
	};

	m.next_data = FAKE_DATA;
	b[0].data = &hdr;
	if (types[op[1] % 10] > 8 && types[op[1] % 10] != 255) {
		b[1].len = sizeof seg;
		b[1].data = &seg;
		b[2].len = 0;
	}
	fake_send(&m, op[6] & 1, b, 4);
}

static void step(struct virtio_device *d, const uint8_t *op)
{
	static const struct rate_config limits[] = { { { 0 }, { 0 } },
						     { .ops = { 3, 1, 1 } },
						     { .bytes = { 700, 9, 1 } } };
	uint32_t id, len;

	switch (op[0] % 12) {
	case 0 ... 4:
		send(op);
		if (op[7] & 1)
			virtio_device_kick(d, op[6] & 1);
		break;
	case 5:
		m.ram[0x1000 + (op[1] | op[2] << 8) % 0x2000] = op[3];
		break;
	case 6:
		virtio_device_kick(d, op[1] % 3);
		break;
	case 7:
		virtio_device_quiesce(d);
		break;
	case 8:
		virtio_device_reset(d);
		fake_start(&m, d, op[1] & 1 ? ~0ULL : ~(1ULL << op[2] % 64), 3);
		break;
	case 9:
		block_set_rate(d, &limits[op[1] % 3]);
		break;
	case 10: {
		char path[32];

		snprintf(path, sizeof path, "/proc/self/fd/%d", image);
		if (block_set_path(d, path, NULL) < 0)
			abort();
		break;
	}
	case 11:
		fake_submit(&m.q[op[1] & 1], op[2] % FAKE_QUEUE_SIZE);
		break;
	}
	while (fake_used(&m.q[0], &id, &len) || fake_used(&m.q[1], &id, &len))
		;
	loop_run_once(loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_device *d;
	struct stat st;

	if (!size)
		return 0;
	if (!loop)
		start();
	d = dev[data[0] & 1];
	fake_start(&m, d, ~0ULL, 3);
	for (size_t i = 1; i + 8 <= size && i < 8 * 256; i += 8)
		step(d, data + i);
	virtio_device_reset(d);
	if (container_of(d, struct block_device, base)->inflight || fstat(image, &st) < 0 || st.st_size != DISK)
		abort();
	return 0;
}

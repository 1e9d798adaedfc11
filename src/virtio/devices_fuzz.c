/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver of one of the small devices: the first byte chooses which, the rest is a program of 8-byte steps
 * that send requests of any shape, scribble over rings and descriptors, change what the host can change, pause, save
 * and load, reset. The devices live on over all inputs; every input begins with a reset.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "base/log.h"
#include "state/state.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/fake_machine.h"
#include "virtio/mem.h"
#include "virtio/pmem.h"
#include "virtio/rng.h"

enum { RNG, CONSOLE, BALLOON, PMEM, MEM, DEVICES };

/* What virtio-mem has: addresses behind the driver's memory. */
#define MEM_ADDR   0x10000000ULL
#define MEM_BLOCK  0x10000ULL
#define MEM_BLOCKS 40

static struct loop *loop;
static struct fake_machine m;
static struct virtio_device *dev[DEVICES];
static int con_in, con_out; /* our ends */
static bool mem_host[MEM_BLOCKS], loading;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int mem_change(gpa_t gpa, uint64_t len, bool plug)
{
	if (gpa < MEM_ADDR || gpa % MEM_BLOCK || !len || len % MEM_BLOCK ||
	    gpa + len > MEM_ADDR + MEM_BLOCKS * MEM_BLOCK)
		abort();
	/* A host that has no memory now and then; never when it has to restore what was there. */
	if (plug && !loading && len > 5 * MEM_BLOCK)
		return -ENOMEM;
	for (uint64_t i = (gpa - MEM_ADDR) / MEM_BLOCK; len; i++, len -= MEM_BLOCK) {
		if (mem_host[i] == plug)
			abort();
		mem_host[i] = plug;
	}
	return 0;
}

static int mem_plug(void *userdata, gpa_t gpa, uint64_t len)
{
	return mem_change(gpa, len, true);
}

static int mem_unplug(void *userdata, gpa_t gpa, uint64_t len)
{
	return mem_change(gpa, len, false);
}

static void start(void)
{
	static const struct virtio_mem_host host = { mem_plug, mem_unplug };
	struct rate_config none = { 0 };
	struct virtio_balloon_config balloon = { .free_page_reporting = true, .deflate_on_oom = true };
	struct virtio_pmem_config pmem = { .start = 1 << 30, .size = 1 << 20, .fd = memfd_create("pmem", MFD_CLOEXEC) };
	struct virtio_mem_config mem = {
		.addr = MEM_ADDR,
		.size = MEM_BLOCKS * MEM_BLOCK,
		.block = MEM_BLOCK,
		.requested = 32 * MEM_BLOCK,
		.host = &host,
	};
	struct virtio_console_config con;
	int in[2], out[2];

	log_set_level(LOG_LEVEL_ERROR);
	if (pipe2(in, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(out, O_CLOEXEC | O_NONBLOCK) < 0)
		abort();
	fcntl(out[1], F_SETPIPE_SZ, 4096);
	con = (struct virtio_console_config){ in[0], out[1] };
	con_in = in[1];
	con_out = out[0];
	if (loop_new(&loop, NULL) < 0 || virtio_rng_new(loop, &none, &dev[RNG], NULL) < 0 ||
	    virtio_console_new(loop, &con, &dev[CONSOLE], NULL) < 0 ||
	    virtio_balloon_new(loop, &balloon, &dev[BALLOON], NULL) < 0 ||
	    virtio_pmem_new(loop, &pmem, &dev[PMEM], NULL) < 0 || virtio_mem_new(loop, &mem, &dev[MEM], NULL) < 0)
		abort();
	fake_machine_init(&m);
}

/* A readable part of op[2..4]'s content and size, a writable one, cut in odd places. */
static void send(const uint8_t *op, unsigned queue)
{
	uint8_t req[128] = { 0 };
	struct fake_buf b[4] = {
		{ .len = op[3] % 33, .data = req },
		{ .len = op[4] & 0x80 ? 24u - op[3] % 24 : op[4] % 40u, .data = req + op[3] % 33 },
		{ .len = op[5] % 32, .write = true },
		{ .len = op[6] == 255 ? 70000 : op[6] * 16u, .write = true },
	};
	le64 addr = le64_of((op[1] & 0x80 ? 0 : MEM_ADDR) + op[4] % 48u * MEM_BLOCK + op[1] % 2u);

	/* As virtio-mem's request; as page numbers it is as good as anything. */
	req[0] = op[2] % 6;
	memcpy(req + 8, &addr, sizeof addr);
	req[16] = op[5];
	if (op[1] & 0x40)
		for (unsigned i = 0; i < 16; i++)
			req[4 * i + 1] = (uint8_t)(op[2] + i * op[5]), req[4 * i] = req[4 * i + 2] = req[4 * i + 3] = 0;
	if (op[7] & 0x40) /* more than a pipe takes */
		b[1] = (struct fake_buf){ .len = 20000, .fixed = true, .gpa = FAKE_DATA };
	m.next_data = FAKE_DATA + 0x20000;
	fake_send(&m, queue, b + (op[7] >> 4 & 1), 3 + (op[7] >> 5 & 1) - (op[7] >> 4 & 1));
}

/* What the host does to the device. */
static void host_step(unsigned which, const uint8_t *op)
{
	const struct rate_config rate = { .ops = { op[2] % 4u, 1, 1 }, .bytes = { op[3] * 100u, 5, 1 } };
	uint8_t junk[256] = { 0 };

	switch (which) {
	case RNG:
		virtio_rng_set_rate(dev[RNG], &rate);
		break;
	case PMEM:
		virtio_pmem_set_rate(dev[PMEM], &rate);
		break;
	case CONSOLE:
		if (op[2] & 1 && write(con_in, junk, op[3]) < 0)
			break;
		while (op[2] & 2 && read(con_out, junk, sizeof junk) > 0)
			;
		virtio_console_set_size(dev[CONSOLE], op[2], op[3]);
		break;
	case BALLOON:
		virtio_balloon_set_target(dev[BALLOON], op[2] * 4096ULL);
		virtio_balloon_set_interval(dev[BALLOON], op[3] & 1);
		break;
	case MEM:
		virtio_mem_set_requested(dev[MEM], op[2] % (MEM_BLOCKS + 1) * MEM_BLOCK, NULL);
		break;
	}
}

static void save_and_load(struct virtio_device *d, unsigned which)
{
	struct state *s;

	if (state_new(&s) < 0)
		abort();
	virtio_device_quiesce(d);
	d->ops->save(d, s);
	if (which == MEM)
		memset(mem_host, 0, sizeof mem_host); /* the host of another machine */
	loading = true;
	if (d->ops->load(d, s, NULL) < 0)
		abort(); /* what was saved can be loaded */
	loading = false;
	state_free(s);
}

static void step(unsigned which, const uint8_t *op)
{
	struct virtio_device *d = dev[which];
	unsigned queue = op[1] % d->n_queues;
	uint8_t config[80];

	switch (op[0] % 12) {
	case 0 ... 4:
		send(op, queue);
		if (op[7] & 1)
			virtio_device_kick(d, queue);
		break;
	case 5:
		m.ram[0x1000 + (op[1] | op[2] << 8) % 0x6000] = op[3];
		break;
	case 6:
		virtio_device_kick(d, queue);
		break;
	case 7:
		d->ops->config_read(d, op[2], config, op[3] % sizeof config);
		if (d->ops->config_write)
			d->ops->config_write(d, op[2], op + 3, op[4] % 5);
		break;
	case 8:
		virtio_device_reset(d);
		fake_start(&m, d, op[1] & 1 ? ~0ULL : ~(1ULL << op[2] % 64), op[3] & 1 ? ~0ULL : op[4]);
		break;
	case 9:
		host_step(which, op);
		break;
	case 10:
		/* A pause. */
		virtio_device_quiesce(d);
		for (unsigned i = 0; i < d->n_queues; i++)
			virtq_stop(&d->queues[i]);
		loop_run_once(loop, 0);
		if (op[2] & 1)
			save_and_load(d, which);
		for (unsigned i = 0; i < d->n_queues; i++)
			if (d->queues[i].size && virtio_device_start_queue(d, i) == 0)
				virtio_device_kick(d, i);
		break;
	case 11:
		fake_submit(&m.q[queue], op[2] % FAKE_QUEUE_SIZE);
		break;
	}
	loop_run_once(loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_mem_status st;
	uint64_t n = 0;
	unsigned which;

	if (!size)
		return 0;
	if (!loop)
		start();
	which = data[0] % DEVICES;
	fake_start(&m, dev[which], ~0ULL, ~0ULL);
	for (size_t i = 1; i + 8 <= size && i < 8 * 256; i += 8)
		step(which, data + i);
	virtio_device_reset(dev[which]);
	/* Host and device agree on what is plugged. */
	virtio_mem_get_status(dev[MEM], &st);
	for (unsigned i = 0; i < MEM_BLOCKS; i++)
		n += mem_host[i];
	if (st.plugged != n * MEM_BLOCK)
		abort();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue of requests: plug, unplug, unplug all, tell the state of a range (§5.15.6). A bit per block says what is
 * plugged. Every range is checked to be whole blocks of the region; a request plugs or unplugs all of its range or
 * nothing. The guest may never have more than was requested; that it has more for a while after a change is its own
 * time to take.
 *
 * Blocks stay plugged over a reset of the device (§5.15.5): the memory in them may be in use. A driver that comes new
 * unplugs everything first.
 */
#include "virtio/mem.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "guestmem/le.h"
#include "state/state.h"
#include "virtio/iov.h"
#include "virtio/serve.h"

#define F_UNPLUGGED_INACCESSIBLE (1ULL << 1)

#define BUDGET 32

enum { REQUEST_PLUG, REQUEST_UNPLUG, REQUEST_UNPLUG_ALL, REQUEST_STATE };
enum { ANSWER_ACK, ANSWER_NACK, ANSWER_BUSY, ANSWER_ERROR };
enum { STATE_PLUGGED, STATE_UNPLUGGED, STATE_MIXED };

struct config_space { /* §5.15.4 */
	le64 block_size;
	le16 node_id;
	uint8_t padding[6];
	le64 addr, region_size, usable_region_size, plugged_size, requested_size;
};

struct request {
	le16 type, padding[3];
	le64 addr;
	le16 nb_blocks, padding2[3];
};

struct answer {
	le16 type, padding[3];
	le16 state;
};

enum {
	COUNT_KICKS,
	COUNT_PLUGS,
	COUNT_PLUGGED_BYTES,
	COUNT_PLUGS_FAILED,
	COUNT_UNPLUGS,
	COUNT_UNPLUGGED_BYTES,
	COUNT_UNPLUGS_FAILED,
	COUNT_UNPLUGS_OF_ALL,
	COUNT_UNPLUGS_OF_ALL_FAILED,
	COUNT_STATES,
	COUNT_STATES_FAILED,
	COUNTERS,
};

static const char *const counter_names[COUNTERS + 1] = {
	[COUNT_KICKS] = "queue_event_count",
	[COUNT_PLUGS] = "plug_count",
	[COUNT_PLUGGED_BYTES] = "plug_bytes",
	[COUNT_PLUGS_FAILED] = "plug_fails",
	[COUNT_UNPLUGS] = "unplug_count",
	[COUNT_UNPLUGGED_BYTES] = "unplug_bytes",
	[COUNT_UNPLUGS_FAILED] = "unplug_fails",
	[COUNT_UNPLUGS_OF_ALL] = "unplug_all_count",
	[COUNT_UNPLUGS_OF_ALL_FAILED] = "unplug_all_fails",
	[COUNT_STATES] = "state_count",
	[COUNT_STATES_FAILED] = "state_fails",
};

struct mem {
	struct virtio_device base;
	uint64_t counters[COUNTERS];
	struct virtio_mem_config config;
	uint32_t blocks, plugged; /* of the region; of them plugged */
	uint8_t *bitmap;          /* bit n of byte n/8: block n is plugged */
	unsigned failures;        /* logged ones of the host; the guest may ask for ever */
	struct loop_source *again;
	struct virtq_chain chain;
	struct virtq queue;
};

static struct mem *mem(struct virtio_device *base)
{
	return container_of(base, struct mem, base);
}

static bool is_plugged(const struct mem *dev, uint32_t block)
{
	return dev->bitmap[block / 8] >> block % 8 & 1;
}

static void mark(struct mem *dev, uint32_t first, uint32_t n, bool plugged)
{
	for (uint32_t i = first; i < first + n; i++) {
		if (plugged)
			dev->bitmap[i / 8] |= (uint8_t)(1u << i % 8);
		else
			dev->bitmap[i / 8] &= (uint8_t) ~(1u << i % 8);
	}
	dev->plugged = plugged ? dev->plugged + n : dev->plugged - n;
}

/* Blocks of [first, first+n) that are plugged. */
static uint32_t count(const struct mem *dev, uint32_t first, uint32_t n)
{
	uint32_t sum = 0;

	for (uint32_t i = first; i < first + n; i++)
		sum += is_plugged(dev, i);
	return sum;
}

static int host_change(struct mem *dev, uint32_t first, uint32_t n, bool plug)
{
	const struct virtio_mem_config *c = &dev->config;
	int r = (plug ? c->host->plug : c->host->unplug)(c->userdata, c->addr + first * c->block, n * c->block);

	if (r == 0) {
		mark(dev, first, n, plug);
		dev->counters[plug ? COUNT_PLUGGED_BYTES : COUNT_UNPLUGGED_BYTES] += n * dev->config.block;
	} else {
		log_warn_few(&dev->failures, "memory: %u blocks could not be %s: %s; the guest is told to try later", n,
			     plug ? "plugged" : "unplugged", strerror(-r));
	}
	return r;
}

/* The blocks of a request; false: not whole blocks of the region. */
static bool range(const struct mem *dev, const struct request *req, uint32_t *first, uint32_t *n)
{
	uint64_t off = le64_get(req->addr) - dev->config.addr;

	*n = le16_get(req->nb_blocks);
	if (le64_get(req->addr) < dev->config.addr || off % dev->config.block || !*n ||
	    off / dev->config.block >= dev->blocks)
		return false;
	*first = (uint32_t)(off / dev->config.block);
	return *n <= dev->blocks - *first;
}

static uint16_t change(struct mem *dev, const struct request *req, bool plug)
{
	uint32_t first, n;

	/* §5.15.6.1: all of the range in the other state, or it is an error. */
	if (!range(dev, req, &first, &n) || count(dev, first, n) != (plug ? 0 : n))
		return ANSWER_ERROR;
	if (plug && (dev->plugged + (uint64_t)n) * dev->config.block > dev->config.requested)
		return ANSWER_NACK;
	return host_change(dev, first, n, plug) < 0 ? ANSWER_BUSY : ANSWER_ACK;
}

/* Call fn for each run of plugged blocks. */
static int each_run(struct mem *dev, int (*fn)(struct mem *dev, uint32_t first, uint32_t n))
{
	for (uint32_t first = 0, n; first < dev->blocks; first += n) {
		int r = 0;

		for (n = 0; first + n < dev->blocks && is_plugged(dev, first + n); n++)
			;
		if (n)
			r = fn(dev, first, n);
		else
			n = 1;
		if (r < 0)
			return r;
	}
	return 0;
}

static int unplug_run(struct mem *dev, uint32_t first, uint32_t n)
{
	return host_change(dev, first, n, false);
}

static uint16_t state_of(struct mem *dev, const struct request *req, le16 *ret)
{
	uint32_t first, n, plugged;

	if (!range(dev, req, &first, &n))
		return ANSWER_ERROR;
	plugged = count(dev, first, n);
	*ret = le16_of(plugged == n ? STATE_PLUGGED : plugged ? STATE_MIXED : STATE_UNPLUGGED);
	return ANSWER_ACK;
}

static void count_request(struct mem *dev, uint16_t request, bool good)
{
	static const struct {
		uint8_t all, failed;
	} counters[] = {
		[REQUEST_PLUG] = { COUNT_PLUGS, COUNT_PLUGS_FAILED },
		[REQUEST_UNPLUG] = { COUNT_UNPLUGS, COUNT_UNPLUGS_FAILED },
		[REQUEST_UNPLUG_ALL] = { COUNT_UNPLUGS_OF_ALL, COUNT_UNPLUGS_OF_ALL_FAILED },
		[REQUEST_STATE] = { COUNT_STATES, COUNT_STATES_FAILED },
	};

	if (request > REQUEST_STATE)
		return;
	dev->counters[counters[request].all]++;
	dev->counters[counters[request].failed] += !good;
}

static int64_t serve(struct virtio_device *base, struct virtq_chain *c)
{
	struct mem *dev = mem(base);
	struct answer answer = { 0 };
	uint16_t type = ANSWER_ERROR;
	struct request req;

	if (c->write_len < sizeof answer ||
	    iov_read(virtq_chain_read(c), c->n_read, 0, &req, sizeof req) < sizeof req) {
		virtq_break(&dev->queue, "a memory request without room for request or answer");
		return -EPROTO;
	}
	switch (le16_get(req.type)) {
	case REQUEST_PLUG:
	case REQUEST_UNPLUG:
		type = change(dev, &req, le16_get(req.type) == REQUEST_PLUG);
		break;
	case REQUEST_UNPLUG_ALL:
		type = each_run(dev, unplug_run) < 0 ? ANSWER_BUSY : ANSWER_ACK;
		break;
	case REQUEST_STATE:
		type = state_of(dev, &req, &answer.state);
		break;
	}
	count_request(dev, le16_get(req.type), type == ANSWER_ACK);
	answer.type = le16_of(type);
	iov_write(virtq_chain_write(c), c->n_write, 0, &answer, sizeof answer);
	return sizeof answer;
}

static void pump(struct mem *dev)
{
	if (virtio_serve(&dev->base, 0, &dev->chain, BUDGET, serve))
		loop_timer_set(dev->again, 0);
}

static void on_again(struct loop_source *s, void *userdata)
{
	pump(userdata);
}

static int activate(struct virtio_device *base)
{
	/* Memory of unplugged blocks is not there at all: a driver that would touch it cannot be served (§5.15.6.1). */
	return base->acked & F_UNPLUGGED_INACCESSIBLE ? 0 : -ENOTSUP;
}

static void queue_kick(struct virtio_device *base, unsigned queue)
{
	mem(base)->counters[COUNT_KICKS]++;
	pump(mem(base));
}

static void config_read(struct virtio_device *base, uint32_t offset, void *data, uint32_t len)
{
	const struct mem *dev = mem(base);
	struct config_space c = {
		.block_size = le64_of(dev->config.block),
		.addr = le64_of(dev->config.addr),
		.region_size = le64_of(dev->config.size),
		.usable_region_size = le64_of(dev->config.size),
		.plugged_size = le64_of(dev->plugged * dev->config.block),
		.requested_size = le64_of(dev->config.requested),
	};

	virtio_config_copy(&c, sizeof c, offset, data, len);
}

static void save(struct virtio_device *base, struct state *s)
{
	struct mem *dev = mem(base);

	state_put_u64(s, "block", dev->config.block);
	state_put_u64(s, "requested", dev->config.requested);
	state_put_bytes(s, "plugged", dev->bitmap, (dev->blocks + 7) / 8);
}

static int plug_again(struct mem *dev, uint32_t first, uint32_t n)
{
	const struct virtio_mem_config *c = &dev->config;

	dev->plugged += n;
	return c->host->plug(c->userdata, c->addr + first * c->block, n * c->block);
}

static int load(struct virtio_device *base, const struct state *s, struct err *e)
{
	struct mem *dev = mem(base);
	uint64_t block, requested;
	int r;

	if ((r = state_get_u64(s, "block", &block, e)) < 0 || (r = state_get_u64(s, "requested", &requested, e)) < 0)
		return r;
	if (block != dev->config.block)
		return err_set(e, ERR_CONFIG, EINVAL, "block: memory was saved in blocks of %llu bytes",
			       (unsigned long long)block);
	r = virtio_mem_set_requested(base, requested, e);
	if (r == 0)
		r = state_get_bytes(s, "plugged", dev->bitmap, (dev->blocks + 7) / 8, e);
	if (r < 0)
		return r;
	dev->plugged = 0;
	r = each_run(dev, plug_again);
	return r < 0 ? err_sys(e, -r, "cannot plug the memory that was plugged") : 0;
}

static void device_free(struct virtio_device *base)
{
	struct mem *dev = mem(base);

	loop_source_free(dev->again);
	free(dev->bitmap);
	free(dev);
}

static const struct virtio_device_ops ops = {
	.activate = activate,
	.queue_kick = queue_kick,
	.config_read = config_read,
	.save = save,
	.load = load,
	.free = device_free,
};

static int check_config(const struct virtio_mem_config *c, struct err *e)
{
	uint64_t end;

	if (c->block < 65536 || (c->block & (c->block - 1)))
		return err_set(e, ERR_CONFIG, EINVAL,
			       "memory blocks of %llu bytes: not a power of two of 64 KiB or more",
			       (unsigned long long)c->block);
	if (!c->size || c->size % c->block || c->addr % c->block || __builtin_add_overflow(c->addr, c->size, &end))
		return err_set(e, ERR_CONFIG, EINVAL, "%llu bytes of memory are not whole blocks of %llu",
			       (unsigned long long)c->size, (unsigned long long)c->block);
	if (c->size / c->block > VIRTIO_MEM_BLOCKS_MAX)
		return err_set(e, ERR_LIMIT, E2BIG, "%llu bytes of memory in blocks of %llu: more than %u blocks",
			       (unsigned long long)c->size, (unsigned long long)c->block, VIRTIO_MEM_BLOCKS_MAX);
	return 0;
}

int virtio_mem_new(struct loop *loop, const struct virtio_mem_config *c, struct virtio_device **ret, struct err *e)
{
	static const uint16_t queue_max[] = { 256 };
	struct mem *dev;
	int r = check_config(c, e);

	if (r < 0)
		return r;
	dev = calloc(1, sizeof *dev);
	if (!dev)
		return err_sys(e, ENOMEM, "cannot make the memory device");
	dev->base = (struct virtio_device){
		.ops = &ops,
		.type = VIRTIO_ID_MEM,
		.features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | F_UNPLUGGED_INACCESSIBLE,
		.n_queues = 1,
		.queue_max = queue_max,
		.queues = &dev->queue,
		.counter_names = counter_names,
		.counters = dev->counters,
	};
	dev->config = *c;
	dev->blocks = (uint32_t)(c->size / c->block);
	dev->bitmap = calloc(1, (dev->blocks + 7) / 8);
	if (!dev->bitmap || loop_add_timer(loop, UINT64_MAX, on_again, dev, &dev->again) < 0)
		r = err_sys(e, ENOMEM, "cannot make the memory device");
	else
		r = virtio_mem_set_requested(&dev->base, c->requested, e);
	if (r < 0) {
		device_free(&dev->base);
		return r;
	}
	*ret = &dev->base;
	return 0;
}

int virtio_mem_set_requested(struct virtio_device *base, uint64_t bytes, struct err *e)
{
	struct mem *dev = mem(base);

	if (bytes % dev->config.block || bytes > dev->config.size)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "%llu bytes of memory cannot be requested: not whole blocks of %llu, or more than %llu",
			       (unsigned long long)bytes, (unsigned long long)dev->config.block,
			       (unsigned long long)dev->config.size);
	dev->config.requested = bytes;
	if (base->active)
		base->transport->ops->signal_config(base->transport);
	return 0;
}

void virtio_mem_get_status(const struct virtio_device *base, struct virtio_mem_status *ret)
{
	const struct mem *dev = container_of(base, const struct mem, base);

	*ret = (struct virtio_mem_status){
		.size = dev->config.size,
		.block = dev->config.block,
		.requested = dev->config.requested,
		.plugged = dev->plugged * dev->config.block,
	};
}

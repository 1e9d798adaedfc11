/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues of the disk. A kick pops chains, turns each into an operation on the medium (request.c) and submits it to
 * the engine; completions, in any order, write the status byte and hand the chain back. Queues share the medium, the
 * engine and the limits.
 *
 * A queue is not popped while BLOCK_INFLIGHT_MAX operations are under way, while a rate limit holds (the refused chain
 * goes back to the ring, so that nothing is held), or after a turn's worth of chains; it is then `stalled` and looked
 * at again when that is over. A request that has no room for its header or status breaks the device; any other
 * nonsense is answered by a status.
 */
#include <errno.h>

#include "base/log.h"
#include "block/state.h"
#include "state/state.h"
#include "virtio/iov.h"

/* Chains popped from one queue in one turn. */
#define BLOCK_BUDGET 256

static const char *const counter_names[BLOCK_COUNTERS + 1] = {
	[BLOCK_COUNT_KICKS] = "queue_event_count",
	[BLOCK_COUNT_READS] = "read_count",
	[BLOCK_COUNT_READ_BYTES] = "read_bytes",
	[BLOCK_COUNT_WRITES] = "write_count",
	[BLOCK_COUNT_WRITTEN_BYTES] = "write_bytes",
	[BLOCK_COUNT_FLUSHES] = "flush_count",
	[BLOCK_COUNT_FAILED] = "execute_fails",
	[BLOCK_COUNT_INVALID] = "invalid_reqs_count",
	[BLOCK_COUNT_RATE_HELD] = "rate_limiter_throttled_events",
	[BLOCK_COUNT_RATE_READY] = "rate_limiter_event_count",
	[BLOCK_COUNT_ENGINE_FULL] = "io_engine_throttled_events",
	[BLOCK_COUNT_UPDATES] = "update_count",
	[BLOCK_COUNT_UPDATES_FAILED] = "update_fails",
};

struct request {
	struct block_io io;
	struct block_device *dev;
	uint64_t bytes;
	unsigned queue;
	uint16_t head;
	uint32_t answer_len;
	struct iovec status; /* one byte */
	struct iovec iov[];
};

static struct block_device *block(struct virtio_device *base)
{
	return container_of(base, struct block_device, base);
}

static void hand_back(struct block_device *dev, unsigned queue, uint16_t head, const struct iovec *status,
		      uint8_t value, uint32_t answer_len)
{
	iov_write(status, 1, 0, &value, 1);
	virtq_push(&dev->queues[queue], head, value == BLOCK_S_OK ? answer_len + 1 : 1);
	dev->completed |= 1ULL << queue;
}

static void count_done(struct block_device *dev, enum block_kind kind, uint64_t bytes)
{
	uint64_t *n = dev->counters;

	if (kind == BLOCK_READ) {
		n[BLOCK_COUNT_READS]++;
		n[BLOCK_COUNT_READ_BYTES] += bytes;
	} else if (kind == BLOCK_WRITE) {
		n[BLOCK_COUNT_WRITES]++;
		n[BLOCK_COUNT_WRITTEN_BYTES] += bytes;
	} else if (kind == BLOCK_SYNC) {
		n[BLOCK_COUNT_FLUSHES]++;
	}
}

static void on_complete(struct block_io *io, int result)
{
	struct request *req = container_of(io, struct request, io);
	struct block_device *dev = req->dev;

	if (result < 0)
		log_debug("disk: an operation at %llu failed: %s", (unsigned long long)io->offset, strerror(-result));
	if (result < 0)
		dev->counters[BLOCK_COUNT_FAILED]++;
	else
		count_done(dev, io->kind, req->bytes);
	dev->inflight--;
	hand_back(dev, req->queue, req->head, &req->status, result < 0 ? BLOCK_S_IOERR : BLOCK_S_OK, req->answer_len);
	free(req);
}

static void on_batch_done(void *userdata)
{
	struct block_device *dev = userdata;
	uint64_t completed = dev->completed;

	dev->completed = 0;
	for (unsigned i = 0; completed; i++, completed >>= 1)
		if (completed & 1)
			virtio_device_signal(&dev->base, i);
	if (dev->stalled && dev->inflight < BLOCK_INFLIGHT_MAX && !dev->rate.blocked)
		loop_timer_set(dev->again, 0);
}

/* Make an operation of a plan; NULL: no memory. */
static struct request *request_new(struct block_device *dev, unsigned queue, const struct block_plan *p)
{
	struct virtq_chain *c = &dev->chain;
	struct request *req = malloc(sizeof *req + (c->n_read + (size_t)c->n_write) * sizeof *req->iov);

	if (!req)
		return NULL;
	*req = (struct request){
		.io = {
			.kind = p->kind,
			.unmap = p->unmap,
			/* A driver that cannot ask for a flush relies on every write (§5.2.6.2). */
			.durable = dev->base.features & ~dev->base.acked & BLOCK_F_FLUSH,
			.file = &dev->file,
			.offset = p->offset,
			.len = p->len,
			.iov = req->iov,
			.complete = on_complete,
		},
		.dev = dev,
		.bytes = p->bytes,
		.queue = queue,
		.head = c->head,
		.answer_len = p->answer_len,
	};
	if (p->kind == BLOCK_READ)
		req->io.n_iov = (unsigned)iov_slice(virtq_chain_write(c), c->n_write, 0, p->len, req->iov, c->n_write);
	else if (p->kind == BLOCK_WRITE)
		req->io.n_iov = (unsigned)iov_slice(virtq_chain_read(c), c->n_read, sizeof(struct block_hdr), p->len,
						    req->iov, c->n_read);
	return req;
}

/* Begin what dev->chain asks for. False: a rate limit holds, nothing was begun. */
static bool begin(struct block_device *dev, unsigned queue)
{
	struct virtq_chain *c = &dev->chain;
	struct request *req = NULL;
	struct iovec status;
	struct block_plan p;

	block_plan(dev, c, &p);
	if (!rate_take(&dev->rate, p.bytes)) {
		dev->counters[BLOCK_COUNT_RATE_HELD]++;
		return false;
	}
	iov_slice(virtq_chain_write(c), c->n_write, c->write_len - 1, 1, &status, 1);
	if (p.submit) {
		req = request_new(dev, queue, &p);
		if (!req)
			p.status = BLOCK_S_IOERR;
	}
	if (!req) {
		if (p.status != BLOCK_S_OK)
			dev->counters[p.submit ? BLOCK_COUNT_FAILED : BLOCK_COUNT_INVALID]++;
		else if (p.kind == BLOCK_SYNC)
			count_done(dev, p.kind, 0);
		hand_back(dev, queue, c->head, &status, p.status, p.answer_len);
		return true;
	}
	req->status = status;
	dev->inflight++;
	dev->engine->ops->submit(dev->engine, &req->io);
	return true;
}

/* Pop and begin until the queue is empty; or note that it is stalled. */
static void pop_all(struct block_device *dev, unsigned queue)
{
	struct virtq *q = &dev->queues[queue];

	for (int budget = BLOCK_BUDGET;; budget--) {
		int r;

		if (dev->inflight == BLOCK_INFLIGHT_MAX)
			dev->counters[BLOCK_COUNT_ENGINE_FULL]++;
		if (dev->inflight == BLOCK_INFLIGHT_MAX || dev->rate.blocked || !budget)
			break;
		r = virtq_pop(q, &dev->chain);
		if (r == 0 && virtq_want_kick(q))
			continue;
		if (r <= 0)
			return;
		if (dev->chain.read_len < sizeof(struct block_hdr) || !dev->chain.write_len) {
			virtq_break(q, "a disk request without room for header or status");
			return;
		}
		if (!begin(dev, queue)) {
			virtq_unpop(q);
			break;
		}
	}
	dev->stalled |= 1ULL << queue;
}

static void pump(struct block_device *dev, unsigned queue)
{
	struct virtq *q = &dev->queues[queue];

	if (!dev->base.active || dev->base.broken)
		return;
	dev->stalled &= ~(1ULL << queue);
	virtq_want_no_kick(q);
	pop_all(dev, queue);
	dev->completed |= 1ULL << queue; /* what was answered at once; and a broken queue breaks the device */
	dev->engine->ops->kick(dev->engine);
	on_batch_done(dev);
	if (q->broken)
		virtio_device_break(&dev->base, q->why);
}

static void pump_stalled(struct block_device *dev)
{
	uint64_t stalled = dev->stalled;

	for (unsigned i = 0; stalled; i++, stalled >>= 1)
		if (stalled & 1)
			pump(dev, i);
}

static void on_again(struct loop_source *s, void *userdata)
{
	pump_stalled(userdata);
}

static void on_rate(void *userdata)
{
	((struct block_device *)userdata)->counters[BLOCK_COUNT_RATE_READY]++;
	pump_stalled(userdata);
}

static void queue_kick(struct virtio_device *base, unsigned queue)
{
	block(base)->counters[BLOCK_COUNT_KICKS]++;
	pump(block(base), queue);
}

static int activate(struct virtio_device *base)
{
	struct block_device *dev = block(base);

	/* Restored over another image: the guest only knows the size of the one it was saved with. */
	if (dev->told_size && dev->told_size != dev->file.size)
		base->transport->ops->signal_config(base->transport);
	dev->told_size = 0;
	return 0;
}

static void config_read(struct virtio_device *base, uint32_t offset, void *data, uint32_t len)
{
	const struct block_device *dev = block(base);
	uint32_t physical = dev->file.physical > dev->file.logical ? dev->file.physical / dev->file.logical : 1;
	struct block_config_space c = {
		.capacity = le64_of(dev->file.size / BLOCK_SECTOR),
		/* Header and status take two descriptors of the queue. */
		.seg_max = le32_of(dev->queue_max[0] - 2u),
		.blk_size = le32_of(dev->file.logical),
		.physical_block_exp = (uint8_t)__builtin_ctz(physical),
		.writeback = !!(base->features & BLOCK_F_FLUSH),
		.num_queues = le16_of((uint16_t)base->n_queues),
	};

	if (base->features & BLOCK_F_DISCARD) {
		c.max_discard_sectors = le32_of(BLOCK_DISCARD_MAX);
		c.max_discard_seg = c.max_write_zeroes_seg = le32_of(1);
		c.discard_sector_alignment = le32_of(dev->file.physical / BLOCK_SECTOR);
		c.max_write_zeroes_sectors = le32_of(BLOCK_ZEROES_MAX);
		c.write_zeroes_may_unmap = 1;
	}
	virtio_config_copy(&c, sizeof c, offset, data, len);
}

static void quiesce(struct virtio_device *base)
{
	struct block_device *dev = block(base);

	dev->engine->ops->drain(dev->engine);
}

static void reset(struct virtio_device *base)
{
	struct block_device *dev = block(base);

	quiesce(base);
	dev->stalled = dev->completed = 0;
}

static void save(struct virtio_device *base, struct state *s)
{
	struct block_device *dev = block(base);

	state_put_str(s, "serial", dev->serial);
	state_put_u64(s, "size", dev->file.size);
	rate_save(&dev->rate, state_child(s, "rate"));
}

static int load(struct virtio_device *base, const struct state *s, struct err *e)
{
	struct block_device *dev = block(base);
	const struct state *rate;
	const char *serial;
	uint64_t size;
	int r;

	if ((r = state_get_str(s, "serial", &serial, e)) < 0 || (r = state_get_u64(s, "size", &size, e)) < 0)
		return r;
	if (strlen(serial) > BLOCK_ID_SIZE)
		return err_set(e, ERR_CONFIG, EINVAL, "serial: longer than %d bytes", BLOCK_ID_SIZE);
	rate = state_get_child(s, "rate", e);
	if (!rate)
		return -ENOENT;
	r = rate_load(&dev->rate, rate, e);
	if (r < 0)
		return r;
	/* A guest must find its disk by the same id, though a clone's image may be another file. */
	strcpy(dev->serial, serial);
	dev->own_serial = true;
	dev->told_size = size;
	return 0;
}

static void device_free(struct virtio_device *base)
{
	struct block_device *dev = block(base);

	if (dev->engine) {
		quiesce(base);
		dev->engine->ops->free(dev->engine);
	}
	loop_source_free(dev->again);
	rate_fini(&dev->rate);
	block_file_close(&dev->file);
	free(dev);
}

static const struct virtio_device_ops ops = {
	.activate = activate,
	.queue_kick = queue_kick,
	.config_read = config_read,
	.quiesce = quiesce,
	.reset = reset,
	.save = save,
	.load = load,
	.free = device_free,
};

static int check_config(const struct block_config *c, struct err *e)
{
	uint32_t size = c->queue_size ? c->queue_size : 256;

	if (c->queues > BLOCK_QUEUES_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "%u queues are too many for a disk: at most %d", c->queues,
			       BLOCK_QUEUES_MAX);
	if (size < 4 || size > BLOCK_QUEUE_SIZE_MAX || (size & (size - 1)))
		return err_set(e, ERR_CONFIG, EINVAL, "the queue size %u of a disk is not a power of two from 4 to %d",
			       size, BLOCK_QUEUE_SIZE_MAX);
	if (c->serial && strlen(c->serial) > BLOCK_ID_SIZE)
		return err_set(e, ERR_CONFIG, EINVAL, "the serial '%s' of a disk is longer than %d bytes", c->serial,
			       BLOCK_ID_SIZE);
	return 0;
}

/* The engine that is wanted, or the plain one. */
static int open_engine(struct block_device *dev, bool io_uring)
{
	struct block_engine *engine;
	int r;

	if (io_uring) {
		r = block_engine_uring_new(dev->loop, &engine);
		if (r == 0 && (r = engine->ops->set_file(engine, &dev->file)) < 0)
			engine->ops->free(engine);
		if (r == 0) {
			block_set_engine(dev, engine);
			return 0;
		}
		log_warn("disk: io_uring cannot be used (%s): plain system calls instead", strerror(-r));
	}
	r = block_engine_plain_new(dev->loop, &engine);
	if (r == 0)
		block_set_engine(dev, engine);
	return r;
}

void block_set_engine(struct block_device *dev, struct block_engine *engine)
{
	if (dev->engine)
		dev->engine->ops->free(dev->engine);
	engine->batch_done = on_batch_done;
	engine->userdata = dev;
	dev->engine = engine;
}

static uint64_t features(const struct block_config *c)
{
	uint64_t f = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | BLOCK_F_SEG_MAX |
		     BLOCK_F_BLK_SIZE | BLOCK_F_TOPOLOGY;

	if (c->queues > 1)
		f |= BLOCK_F_MQ;
	if (c->readonly)
		return f | BLOCK_F_RO;
	if (c->flush)
		f |= BLOCK_F_FLUSH;
	if (c->discard)
		f |= BLOCK_F_DISCARD | BLOCK_F_WRITE_ZEROES;
	return f;
}

static void set_default_serial(struct block_device *dev)
{
	if (!dev->own_serial)
		memcpy(dev->serial, dev->file.id, sizeof dev->serial);
}

int block_new(struct loop *loop, const struct block_config *c, struct virtio_device **ret, struct err *e)
{
	struct block_device *dev;
	int r = check_config(c, e);

	if (r < 0)
		return r;
	dev = calloc(1, sizeof *dev);
	if (!dev)
		return err_sys(e, ENOMEM, "cannot make the disk");
	dev->base = (struct virtio_device){
		.ops = &ops,
		.type = VIRTIO_ID_BLOCK,
		.features = features(c),
		.n_queues = c->queues ? c->queues : 1,
		.queue_max = dev->queue_max,
		.queues = dev->queues,
		.counter_names = counter_names,
		.counters = dev->counters,
	};
	for (unsigned i = 0; i < dev->base.n_queues; i++)
		dev->queue_max[i] = (uint16_t)(c->queue_size ? c->queue_size : 256);
	dev->loop = loop;
	dev->direct = c->direct;
	dev->file.fd = dev->file.direct_fd = -1;
	if (c->path)
		r = block_file_open(&dev->file, c->path, c->readonly, c->direct, e);
	else
		r = block_file_take(&dev->file, c->fd, c->readonly, c->direct, e);
	if (r == 0 &&
	    (rate_init(&dev->rate, loop, &c->rate, on_rate, dev) < 0 ||
	     loop_add_timer(loop, UINT64_MAX, on_again, dev, &dev->again) < 0 || open_engine(dev, c->io_uring) < 0))
		r = err_sys(e, ENOMEM, "cannot make the disk");
	if (r < 0) {
		if (!c->path)
			dev->file.fd = -1; /* stays the caller's */
		device_free(&dev->base);
		return r;
	}
	dev->own_serial = c->serial;
	if (c->serial)
		strcpy(dev->serial, c->serial);
	set_default_serial(dev);
	*ret = &dev->base;
	return 0;
}

static int set_path(struct block_device *dev, const char *path, struct err *e)
{
	struct block_file f;
	int r = block_file_open(&f, path, dev->file.readonly, dev->direct, e);

	if (r < 0)
		return r;
	quiesce(&dev->base);
	if (dev->engine->ops->set_file && (r = dev->engine->ops->set_file(dev->engine, &f)) < 0) {
		block_file_close(&f);
		return err_sys(e, -r, "cannot give %s to io_uring", path);
	}
	block_file_close(&dev->file);
	dev->file = f;
	set_default_serial(dev);
	if (dev->base.active)
		dev->base.transport->ops->signal_config(dev->base.transport);
	return 0;
}

int block_set_path(struct virtio_device *base, const char *path, struct err *e)
{
	struct block_device *dev = block(base);
	int r = set_path(dev, path, e);

	dev->counters[r < 0 ? BLOCK_COUNT_UPDATES_FAILED : BLOCK_COUNT_UPDATES]++;
	return r;
}

void block_set_rate(struct virtio_device *dev, const struct rate_config *c)
{
	rate_set(&block(dev)->rate, c);
}

const char *block_engine_name(const struct virtio_device *dev)
{
	return container_of(dev, const struct block_device, base)->engine->ops->name;
}

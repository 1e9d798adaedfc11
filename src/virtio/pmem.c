/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue of flushes. fdatasync(2) writes back what was changed through the shared mapping too, so no msync(2) of the
 * range is needed. A request is a type and an answer of 4 bytes each (§5.19.6).
 */
#include "virtio/pmem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "guestmem/le.h"
#include "state/state.h"
#include "virtio/iov.h"
#include "virtio/serve.h"

#define REQUEST_FLUSH 0
#define BUDGET        4

struct config_space {
	le64 start, size;
};

enum { COUNT_KICKS, COUNT_FAILED, COUNT_RATE_HELD, COUNT_RATE_READY, COUNTERS };

static const char *const counter_names[COUNTERS + 1] = {
	[COUNT_KICKS] = "queue_event_count",
	[COUNT_FAILED] = "event_fails",
	[COUNT_RATE_HELD] = "rate_limiter_throttled_events",
	[COUNT_RATE_READY] = "rate_limiter_event_count",
};

struct pmem {
	struct virtio_device base;
	uint64_t counters[COUNTERS];
	struct config_space config;
	int fd;
	bool warned; /* of flushes that fail; the guest may ask for ever */
	struct rate rate;
	struct loop_source *again;
	struct virtq_chain chain;
	struct virtq queue;
};

static struct pmem *pmem(struct virtio_device *base)
{
	return container_of(base, struct pmem, base);
}

static int64_t serve(struct virtio_device *base, struct virtq_chain *c)
{
	struct pmem *dev = pmem(base);
	le32 type, answer;
	int r = -EINVAL;

	if (c->write_len < sizeof answer ||
	    iov_read(virtq_chain_read(c), c->n_read, 0, &type, sizeof type) < sizeof type) {
		virtq_break(&dev->queue, "a flush request without room for type or answer");
		return -EPROTO;
	}
	if (!rate_take(&dev->rate, 0)) {
		dev->counters[COUNT_RATE_HELD]++;
		return -EAGAIN;
	}
	if (le32_get(type) == REQUEST_FLUSH) {
		r = fdatasync(dev->fd) < 0 ? -errno : 0;
		if (r < 0 && !dev->warned)
			log_warn("persistent memory: a flush failed: %s", strerror(-r));
		dev->warned |= r < 0;
	}
	dev->counters[COUNT_FAILED] += r < 0;
	answer = le32_of(r < 0 ? UINT32_MAX : 0);
	iov_write(virtq_chain_write(c), c->n_write, 0, &answer, sizeof answer);
	return sizeof answer;
}

static void pump(struct pmem *dev)
{
	if (virtio_serve(&dev->base, 0, &dev->chain, BUDGET, serve))
		loop_timer_set(dev->again, 0);
}

static void on_again(struct loop_source *s, void *userdata)
{
	pump(userdata);
}

static void on_rate(void *userdata)
{
	((struct pmem *)userdata)->counters[COUNT_RATE_READY]++;
	pump(userdata);
}

static void queue_kick(struct virtio_device *base, unsigned queue)
{
	pmem(base)->counters[COUNT_KICKS]++;
	pump(pmem(base));
}

static void config_read(struct virtio_device *base, uint32_t offset, void *data, uint32_t len)
{
	virtio_config_copy(&pmem(base)->config, sizeof pmem(base)->config, offset, data, len);
}

/* Start and size are the machine's to keep: it maps the file there before it makes the device. */
static void save(struct virtio_device *base, struct state *s)
{
	rate_save(&pmem(base)->rate, s);
}

static int load(struct virtio_device *base, const struct state *s, struct err *e)
{
	return rate_load(&pmem(base)->rate, s, e);
}

static void device_free(struct virtio_device *base)
{
	struct pmem *dev = pmem(base);

	loop_source_free(dev->again);
	rate_fini(&dev->rate);
	fd_close(&dev->fd);
	free(dev);
}

static const struct virtio_device_ops ops = {
	.queue_kick = queue_kick,
	.config_read = config_read,
	.save = save,
	.load = load,
	.free = device_free,
};

int virtio_pmem_new(struct loop *loop, const struct virtio_pmem_config *c, struct virtio_device **ret, struct err *e)
{
	static const uint16_t queue_max[] = { 256 };
	struct pmem *dev = calloc(1, sizeof *dev);

	if (!dev)
		return err_sys(e, ENOMEM, "cannot make the persistent memory");
	dev->base = (struct virtio_device){
		.ops = &ops,
		.type = VIRTIO_ID_PMEM,
		.features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC,
		.n_queues = 1,
		.queue_max = queue_max,
		.queues = &dev->queue,
		.counter_names = counter_names,
		.counters = dev->counters,
	};
	dev->config = (struct config_space){ le64_of(c->start), le64_of(c->size) };
	dev->fd = -1;
	if (rate_init(&dev->rate, loop, &c->rate, on_rate, dev) < 0 ||
	    loop_add_timer(loop, UINT64_MAX, on_again, dev, &dev->again) < 0) {
		device_free(&dev->base);
		return err_sys(e, ENOMEM, "cannot make the persistent memory");
	}
	dev->fd = c->fd;
	*ret = &dev->base;
	return 0;
}

void virtio_pmem_set_rate(struct virtio_device *dev, const struct rate_config *c)
{
	rate_set(&pmem(dev)->rate, c);
}

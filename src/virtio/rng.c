/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue of buffers to fill. A request gets at most 64 KiB, whatever its size: the guest sees how much that was and
 * asks again (§5.4.6). What a guest can do to us is to keep us busy: a turn serves few requests, and the rate may be
 * limited. getrandom(2) writes straight into guest memory.
 */
#include "virtio/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "base/list.h"
#include "state/state.h"
#include "virtio/serve.h"

#define REQUEST_MAX 65536
#define BUDGET      16

enum { COUNT_REQUESTS, COUNT_BYTES, COUNT_FAILED, COUNT_RATE_HELD, COUNT_RATE_READY, COUNTERS };

static const char *const counter_names[COUNTERS + 1] = {
	[COUNT_REQUESTS] = "entropy_event_count",
	[COUNT_BYTES] = "entropy_bytes",
	[COUNT_FAILED] = "host_rng_fails",
	[COUNT_RATE_HELD] = "entropy_rate_limiter_throttled",
	[COUNT_RATE_READY] = "rate_limiter_event_count",
};

struct rng {
	struct virtio_device base;
	uint64_t counters[COUNTERS];
	struct rate rate;
	struct loop_source *again;
	struct virtq_chain chain;
	struct virtq queue;
};

static struct rng *rng(struct virtio_device *base)
{
	return container_of(base, struct rng, base);
}

/* Bytes that were had. */
static uint32_t fill(struct rng *dev, struct virtq_chain *c, uint32_t want)
{
	uint32_t done = 0;

	for (struct iovec *iov = virtq_chain_write(c); done < want; iov++) {
		size_t part = iov->iov_len < want - done ? iov->iov_len : want - done, got = 0;

		while (got < part) {
			ssize_t r = getrandom((char *)iov->iov_base + got, part - got, 0);

			if (r < 0 && errno != EINTR) {
				dev->counters[COUNT_FAILED]++;
				return done + (uint32_t)got;
			}
			got += r > 0 ? (size_t)r : 0;
		}
		done += (uint32_t)part;
	}
	return done;
}

static int64_t serve(struct virtio_device *base, struct virtq_chain *c)
{
	uint32_t want = c->write_len < REQUEST_MAX ? c->write_len : REQUEST_MAX, done;
	struct rng *dev = rng(base);

	if (c->n_read) {
		virtq_break(&base->queues[0], "a request for entropy with something to read"); /* §5.4.6.1 */
		return -EPROTO;
	}
	if (!rate_take(&dev->rate, want)) {
		dev->counters[COUNT_RATE_HELD]++;
		return -EAGAIN;
	}
	done = fill(dev, c, want);
	dev->counters[COUNT_REQUESTS]++;
	dev->counters[COUNT_BYTES] += done;
	return done;
}

static void pump(struct rng *dev)
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
	((struct rng *)userdata)->counters[COUNT_RATE_READY]++;
	pump(userdata);
}

static void queue_kick(struct virtio_device *base, unsigned queue)
{
	pump(rng(base));
}

static void config_read(struct virtio_device *base, uint32_t offset, void *data, uint32_t len)
{
	virtio_config_copy("", 0, offset, data, len);
}

static void save(struct virtio_device *base, struct state *s)
{
	rate_save(&rng(base)->rate, s);
}

static int load(struct virtio_device *base, const struct state *s, struct err *e)
{
	return rate_load(&rng(base)->rate, s, e);
}

static void device_free(struct virtio_device *base)
{
	struct rng *dev = rng(base);

	loop_source_free(dev->again);
	rate_fini(&dev->rate);
	free(dev);
}

static const struct virtio_device_ops ops = {
	.queue_kick = queue_kick,
	.config_read = config_read,
	.save = save,
	.load = load,
	.free = device_free,
};

int virtio_rng_new(struct loop *loop, const struct rate_config *c, struct virtio_device **ret, struct err *e)
{
	static const uint16_t queue_max[] = { 256 };
	struct rng *dev = calloc(1, sizeof *dev);

	if (!dev)
		return err_sys(e, ENOMEM, "cannot make the entropy device");
	dev->base = (struct virtio_device){
		.ops = &ops,
		.type = VIRTIO_ID_RNG,
		.features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC,
		.n_queues = 1,
		.queue_max = queue_max,
		.queues = &dev->queue,
		.counter_names = counter_names,
		.counters = dev->counters,
	};
	if (rate_init(&dev->rate, loop, c, on_rate, dev) < 0 ||
	    loop_add_timer(loop, UINT64_MAX, on_again, dev, &dev->again) < 0) {
		device_free(&dev->base);
		return err_sys(e, ENOMEM, "cannot make the entropy device");
	}
	*ret = &dev->base;
	return 0;
}

void virtio_rng_set_rate(struct virtio_device *dev, const struct rate_config *c)
{
	rate_set(&rng(dev)->rate, c);
}

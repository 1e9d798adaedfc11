/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each pair of queues has a backend of its own. Transmit: a chain is a frame, written to the backend straight from the
 * guest's memory. Receive: a frame is read into a buffer of ours and copied into as many of the guest's buffers as it
 * needs (with MRG_RXBUF; else into one), because how many that are is known only once it is here; when the guest has
 * too few, it is held until there are more, and the backend is not read meanwhile.
 *
 * A tap spreads what comes over all its queues, however many pairs the driver uses (a guest uses no more than it has
 * CPUs): what comes for a pair that is not in use goes into the receive queue of one that is.
 *
 * Both directions do a bounded amount per turn and come back by a timer of 0 ms. What can go wrong on the network's
 * side loses frames; what the guest does against the protocol breaks the device; a backend that is dead takes the link
 * down.
 */
#include "net/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/list.h"
#include "base/log.h"
#include "guestmem/le.h"
#include "state/state.h"
#include "virtio/iov.h"

#define VIRTIO_ID_NET 1
#define BUDGET        64
#define QUEUE_SIZE    256
#define CTRL_SIZE     16
#define BUFFERS_MAX   256 /* of one frame: enough for buffers of 512 bytes */

#define STATUS_LINK_UP 1

#define CTRL_MQ           4
#define CTRL_MQ_PAIRS_SET 0
#define CTRL_OK           0
#define CTRL_ERR          1

struct net;

struct pair {
	struct net *net;
	unsigned index;
	struct net_backend *backend;
	struct loop_source *io, *again;
	uint32_t events;
	uint8_t *frame;   /* NET_FRAME_MAX, made when the first frame comes */
	size_t frame_len; /* > 0: held */
	bool admitted;    /* it has passed the rate limit */
	bool tx_blocked;  /* the backend takes no more for now */
	bool dead;
};

enum {
	COUNT_RX_KICKS,
	COUNT_RX_EVENTS,
	COUNT_RX_FETCHED,
	COUNT_RX_FRAMES,
	COUNT_RX_BYTES,
	COUNT_RX_LOST,
	COUNT_RX_NO_BUFFER,
	COUNT_RX_RATE_HELD,
	COUNT_RX_RATE_READY,
	COUNT_RX_FAILED,
	COUNT_TX_KICKS,
	COUNT_TX_TAKEN,
	COUNT_TX_FRAMES,
	COUNT_TX_BYTES,
	COUNT_TX_MALFORMED,
	COUNT_TX_RATE_HELD,
	COUNT_TX_RATE_READY,
	COUNT_TX_FAILED,
	COUNTERS,
};

static const char *const counter_names[COUNTERS + 1] = {
	[COUNT_RX_KICKS] = "rx_queue_event_count",
	[COUNT_RX_EVENTS] = "rx_tap_event_count",
	[COUNT_RX_FETCHED] = "rx_count",
	[COUNT_RX_FRAMES] = "rx_packets_count",
	[COUNT_RX_BYTES] = "rx_bytes_count",
	[COUNT_RX_LOST] = "rx_fails",
	[COUNT_RX_NO_BUFFER] = "no_rx_avail_buffer",
	[COUNT_RX_RATE_HELD] = "rx_rate_limiter_throttled",
	[COUNT_RX_RATE_READY] = "rx_event_rate_limiter_count",
	[COUNT_RX_FAILED] = "tap_read_fails",
	[COUNT_TX_KICKS] = "tx_queue_event_count",
	[COUNT_TX_TAKEN] = "tx_count",
	[COUNT_TX_FRAMES] = "tx_packets_count",
	[COUNT_TX_BYTES] = "tx_bytes_count",
	[COUNT_TX_MALFORMED] = "tx_malformed_frames",
	[COUNT_TX_RATE_HELD] = "tx_rate_limiter_throttled",
	[COUNT_TX_RATE_READY] = "tx_rate_limiter_event_count",
	[COUNT_TX_FAILED] = "tap_write_fails",
};

struct net {
	struct virtio_device base;
	uint64_t counters[COUNTERS];
	char *name;
	size_t n_pairs, active_pairs;
	struct pair pairs[NET_PAIRS_MAX];
	struct rate rx_rate, tx_rate;
	struct {
		uint8_t mac[6];
		le16 status, max_pairs, mtu;
	} __attribute__((packed)) config;
	struct virtq queues[2 * NET_PAIRS_MAX + 1];
	uint16_t queue_max[2 * NET_PAIRS_MAX + 1];
	struct virtq_chain chain, first, control_chain;
	struct {
		uint16_t head;
		uint32_t len;
	} used[BUFFERS_MAX];
};

static struct net *net(struct virtio_device *base)
{
	return container_of(base, struct net, base);
}

static bool running(const struct net *n)
{
	return n->base.active && !n->base.broken;
}

static void watch(struct pair *p, uint32_t events)
{
	if (p->io && events != p->events && loop_io_set_events(p->io, events) == 0)
		p->events = events;
}

/* The other end is gone: the guest sees the cable pulled. */
static void link_down(struct pair *p, int r)
{
	struct net *n = p->net;

	log_warn("network card %s: %s; its link is down", n->name, strerror(-r));
	loop_source_free(take_ptr(p->io));
	p->dead = true;
	n->config.status = le16_of(0);
	if (n->base.acked & NET_F_STATUS)
		n->base.transport->ops->signal_config(n->base.transport);
}

/* ---- receive ---- */

/* How many buffers the frame took goes into its header, at last (§5.1.6.4). */
static void set_num_buffers(struct net *n, unsigned count)
{
	le16 num = le16_of((uint16_t)count);

	iov_write(virtq_chain_write(&n->first), n->first.n_write, NET_HEADER_LEN - sizeof num, &num, sizeof num);
}

/* The queue that the frames of a pair's backend go into. */
static unsigned rx_index(const struct pair *p)
{
	return 2 * (p->index % (unsigned)p->net->active_pairs);
}

/* Copy the held frame into the guest's buffers. 1: done; 0: too few of them; negative: the queue is broken. */
static int deliver(struct pair *p)
{
	struct net *n = p->net;
	struct virtq *q = &n->queues[rx_index(p)];
	bool merge = n->base.acked & NET_F_MRG_RXBUF;
	unsigned count = 0;

	for (size_t at = 0; at < p->frame_len;) {
		struct virtq_chain *chain = count ? &n->chain : &n->first;
		int r = count == BUFFERS_MAX ? 0 : virtq_pop(q, chain);
		size_t part;

		if (r == 0 && count < BUFFERS_MAX && virtq_want_kick(q))
			continue;
		if (r == 1 && chain->write_len < (count ? 1 : NET_HEADER_LEN)) {
			virtq_break(q, "a network receive buffer without room for a frame");
			r = -EPROTO;
		}
		if (r <= 0) {
			/* They stay the guest's until there are enough. */
			while (count--)
				virtq_unpop(q);
			return r;
		}
		part = iov_write(virtq_chain_write(chain), chain->n_write, 0, p->frame + at, p->frame_len - at);
		n->used[count].head = chain->head;
		n->used[count++].len = (uint32_t)part;
		at += part;
		if (!merge && at < p->frame_len) {
			/* A driver that does not merge has to offer large enough ones (§5.1.6.3.1): the frame is lost.
			 */
			virtq_unpop(q);
			n->counters[COUNT_RX_LOST]++;
			return 1;
		}
	}
	n->counters[COUNT_RX_FRAMES]++;
	n->counters[COUNT_RX_BYTES] += p->frame_len - NET_HEADER_LEN;
	set_num_buffers(n, count);
	for (unsigned i = 0; i < count; i++)
		virtq_push(q, n->used[i].head, n->used[i].len);
	return 1;
}

/* The next frame from the backend into p->frame. False: none now. */
static bool fetch(struct pair *p)
{
	ssize_t r;

	if (p->frame_len)
		return true;
	if (p->dead || !p->io)
		return false;
	if (!p->frame)
		p->frame = malloc(NET_FRAME_MAX);
	r = p->frame ? p->backend->ops->receive(p->backend, p->frame) : -EAGAIN;
	if (r > 0) {
		p->frame_len = (size_t)r;
		p->net->counters[COUNT_RX_FETCHED]++;
	} else if (r != -EAGAIN) {
		p->net->counters[COUNT_RX_FAILED]++;
		link_down(p, (int)r);
	}
	return r > 0;
}

static void rx_pump(struct pair *p)
{
	struct net *n = p->net;
	int budget = BUDGET;
	bool stuck = false;

	if (!running(n) || !n->queues[rx_index(p)].ready) {
		watch(p, 0);
		return;
	}
	while (budget-- && fetch(p)) {
		int r;

		if (!p->admitted && !(p->admitted = rate_take(&n->rx_rate, p->frame_len))) {
			n->counters[COUNT_RX_RATE_HELD]++;
			stuck = true;
			break;
		}
		r = deliver(p);
		if (r <= 0) {
			n->counters[COUNT_RX_NO_BUFFER] += r == 0;
			stuck = true;
			break;
		}
		p->frame_len = 0;
		p->admitted = false;
	}
	virtio_device_signal(&n->base, rx_index(p));
	/* Stuck: a kick or the rate limit's timer goes on. */
	watch(p, (stuck ? 0 : EPOLLIN) | (p->tx_blocked ? EPOLLOUT : 0));
}

/* ---- transmit ---- */

/* One frame out of the guest's chain. False: it has to wait. */
static bool transmit(struct pair *p, const struct virtq_chain *chain)
{
	bool good = chain->read_len > NET_HEADER_LEN && chain->read_len <= NET_FRAME_MAX;
	uint64_t *count = p->net->counters;
	int r = 0;

	if (good && !p->dead)
		r = p->backend->ops->send(p->backend, chain->iov, chain->n_read, chain->read_len);
	if (r == -EAGAIN)
		return false;
	count[COUNT_TX_TAKEN]++;
	if (r < 0) {
		count[COUNT_TX_FAILED]++;
		link_down(p, r);
	} else if (!good) {
		count[COUNT_TX_MALFORMED]++;
	} else if (!p->dead) {
		count[COUNT_TX_FRAMES]++;
		count[COUNT_TX_BYTES] += chain->read_len - NET_HEADER_LEN;
	}
	return true;
}

static void tx_block(struct pair *p)
{
	p->tx_blocked = true;
	watch(p, p->events | EPOLLOUT);
}

/* The backend may hold the rest of the last frame, for which the guest will not kick again. */
static void tx_flush(struct pair *p)
{
	int r = p->dead || p->tx_blocked || !p->backend->ops->flush ? 0 : p->backend->ops->flush(p->backend);

	if (r == -EAGAIN) {
		tx_block(p);
	} else if (r < 0) {
		p->net->counters[COUNT_TX_FAILED]++;
		link_down(p, r);
	}
}

static void tx_pump(struct pair *p)
{
	struct net *n = p->net;
	unsigned index = 2 * p->index + 1;
	struct virtq *q = &n->queues[index];
	int budget = BUDGET;

	if (!running(n) || p->tx_blocked || !q->ready)
		return;
	virtq_want_no_kick(q);
	for (;;) {
		int r;

		if (!budget--) {
			loop_timer_set(p->again, 0);
			break;
		}
		r = virtq_pop(q, &n->chain);
		if (r == 0 && virtq_want_kick(q))
			continue;
		if (r <= 0)
			break;
		if (!rate_take(&n->tx_rate, n->chain.read_len)) {
			n->counters[COUNT_TX_RATE_HELD]++;
			virtq_unpop(q);
			break;
		}
		if (!transmit(p, &n->chain)) {
			virtq_unpop(q);
			tx_block(p);
			break;
		}
		virtq_push(q, n->chain.head, 0);
	}
	tx_flush(p);
	virtio_device_signal(&n->base, index);
}

/* ---- control ---- */

/* The one command that there is: how many pairs are in use. */
static uint8_t control(struct net *n, const struct virtq_chain *chain)
{
	struct {
		uint8_t class, command;
		le16 pairs;
	} __attribute__((packed)) c;
	uint16_t pairs;

	if (iov_read(chain->iov, chain->n_read, 0, &c, sizeof c) < sizeof c || c.class != CTRL_MQ ||
	    c.command != CTRL_MQ_PAIRS_SET || !(n->base.acked & NET_F_MQ))
		return CTRL_ERR;
	pairs = le16_get(c.pairs);
	if (!pairs || pairs > n->n_pairs)
		return CTRL_ERR;
	n->active_pairs = pairs;
	for (size_t i = 0; i < n->n_pairs; i++)
		rx_pump(&n->pairs[i]);
	return CTRL_OK;
}

static void control_pump(struct net *n, unsigned index)
{
	struct virtq *q = &n->queues[index];

	if (!running(n) || !q->ready)
		return;
	for (int budget = BUDGET; budget; budget--) {
		uint8_t answer;
		/* A chain of its own: rx_pump() of the new pairs uses the others. */
		int r = virtq_pop(q, &n->control_chain);

		if (r == 0 && virtq_want_kick(q))
			continue;
		if (r <= 0)
			break;
		if (!n->control_chain.write_len) {
			virtq_break(q, "a network control request without room for its answer");
			break;
		}
		answer = control(n, &n->control_chain);
		iov_write(virtq_chain_write(&n->control_chain), n->control_chain.n_write, 0, &answer, 1);
		virtq_push(q, n->control_chain.head, 1);
	}
	virtio_device_signal(&n->base, index);
}

/* ---- events ---- */

static void on_io(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct pair *p = userdata;

	if (revents & EPOLLOUT) {
		p->tx_blocked = false;
		watch(p, p->events & ~(uint32_t)EPOLLOUT);
		tx_flush(p);
		tx_pump(p);
	}
	if (revents & (EPOLLHUP | EPOLLERR) && !p->events) {
		/* Told for ever, and nobody reads now. */
		link_down(p, -EPIPE);
		return;
	}
	if (revents & ~(uint32_t)EPOLLOUT) {
		p->net->counters[COUNT_RX_EVENTS]++;
		rx_pump(p);
	}
}

static void on_again(struct loop_source *s, void *userdata)
{
	tx_pump(userdata);
}

static void on_rx_rate(void *userdata)
{
	struct net *n = userdata;

	n->counters[COUNT_RX_RATE_READY]++;
	for (size_t i = 0; i < n->n_pairs; i++)
		rx_pump(&n->pairs[i]);
}

static void on_tx_rate(void *userdata)
{
	struct net *n = userdata;

	n->counters[COUNT_TX_RATE_READY]++;
	for (size_t i = 0; i < n->n_pairs; i++)
		tx_pump(&n->pairs[i]);
}

/* ---- the device ---- */

/* Behind the pairs that the driver knows of (§5.1.2). */
static unsigned control_index(const struct net *n)
{
	return n->base.acked & NET_F_MQ ? 2 * (unsigned)n->n_pairs : 2;
}

static int activate(struct virtio_device *base)
{
	struct net *n = net(base);

	for (size_t i = 0; i < n->n_pairs; i++) {
		struct pair *p = &n->pairs[i];

		p->backend->ops->set_features(p->backend, base->acked & p->backend->features);
		if (n->queues[2 * i].ready)
			virtq_want_no_kick(&n->queues[2 * i]);
		rx_pump(p);
	}
	return 0;
}

static void queue_kick(struct virtio_device *base, unsigned queue)
{
	struct net *n = net(base);

	if (base->acked & NET_F_CTRL_VQ && queue == control_index(n)) {
		control_pump(n, queue);
	} else if (queue / 2 < n->n_pairs && queue % 2) {
		n->counters[COUNT_TX_KICKS]++;
		tx_pump(&n->pairs[queue / 2]);
	} else if (queue / 2 < n->n_pairs) {
		n->counters[COUNT_RX_KICKS]++;
		for (size_t i = 0; i < n->n_pairs; i++)
			if (rx_index(&n->pairs[i]) == queue)
				rx_pump(&n->pairs[i]);
	}
}

static void config_read(struct virtio_device *base, uint32_t offset, void *data, uint32_t len)
{
	struct net *n = net(base);

	virtio_config_copy(&n->config, sizeof n->config, offset, data, len);
}

static void quiesce(struct virtio_device *base)
{
	struct net *n = net(base);

	/* A held frame is ours; nothing of the guest's is. Nobody is to be woken for frames that cannot be delivered.
	 */
	for (size_t i = 0; i < n->n_pairs; i++)
		watch(&n->pairs[i], 0);
}

static void reset(struct virtio_device *base)
{
	struct net *n = net(base);

	quiesce(base);
	n->active_pairs = 1;
	for (size_t i = 0; i < n->n_pairs; i++) {
		n->pairs[i].frame_len = 0;
		n->pairs[i].admitted = n->pairs[i].tx_blocked = false;
	}
}

static void save(struct virtio_device *base, struct state *s)
{
	struct net *n = net(base);

	state_put_u64(s, "active-pairs", n->active_pairs);
	rate_save(&n->rx_rate, state_child(s, "rx-rate"));
	rate_save(&n->tx_rate, state_child(s, "tx-rate"));
}

static int load_rate(struct rate *rate, const struct state *s, const char *name, struct err *e)
{
	const struct state *child = state_get_child(s, name, e);

	return child ? rate_load(rate, child, e) : -ENOENT;
}

static int load(struct virtio_device *base, const struct state *s, struct err *e)
{
	struct net *n = net(base);
	uint64_t pairs;
	int r = state_get_max(s, "active-pairs", n->n_pairs, &pairs, e);

	if (r == 0)
		r = load_rate(&n->rx_rate, s, "rx-rate", e);
	if (r == 0)
		r = load_rate(&n->tx_rate, s, "tx-rate", e);
	if (r == 0)
		n->active_pairs = pairs ? pairs : 1;
	return r;
}

static void net_free(struct virtio_device *base)
{
	struct net *n = net(base);

	for (size_t i = 0; i < n->n_pairs; i++) {
		loop_source_free(n->pairs[i].io);
		loop_source_free(n->pairs[i].again);
		net_backend_free(n->pairs[i].backend);
		free(n->pairs[i].frame);
	}
	rate_fini(&n->rx_rate);
	rate_fini(&n->tx_rate);
	free(n->name);
	free(n);
}

static const struct virtio_device_ops ops = {
	.activate = activate,
	.queue_kick = queue_kick,
	.config_read = config_read,
	.quiesce = quiesce,
	.reset = reset,
	.save = save,
	.load = load,
	.free = net_free,
};

static void describe(struct net *n, const struct net_config *c)
{
	unsigned n_queues = 2 * (unsigned)c->n_pairs;
	uint64_t features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | NET_F_MRG_RXBUF |
			    NET_F_STATUS | c->backends[0]->features;

	memcpy(n->config.mac, c->mac, sizeof n->config.mac);
	n->config.status = le16_of(STATUS_LINK_UP);
	n->config.max_pairs = le16_of((uint16_t)c->n_pairs);
	n->config.mtu = le16_of(c->mtu);
	for (unsigned i = 0; i < n_queues; i++)
		n->queue_max[i] = c->queue_size ? c->queue_size : QUEUE_SIZE;
	if (c->has_mac)
		features |= NET_F_MAC;
	if (c->mtu)
		features |= NET_F_MTU;
	if (c->n_pairs > 1) {
		features |= NET_F_MQ | NET_F_CTRL_VQ;
		/* A driver without MQ finds the control queue in the place of the second pair. */
		n->queue_max[n_queues++] = CTRL_SIZE;
	}
	n->base = (struct virtio_device){
		.ops = &ops,
		.type = VIRTIO_ID_NET,
		.features = features,
		.n_queues = n_queues,
		.queue_max = n->queue_max,
		.queues = n->queues,
		.counter_names = counter_names,
		.counters = n->counters,
	};
}

int net_new(struct loop *loop, const struct net_config *c, struct virtio_device **ret, struct err *e)
{
	struct net *n;
	int r;

	if (!c->n_pairs || c->n_pairs > NET_PAIRS_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "network card %s: %zu queue pairs cannot be had, 1 to %d can",
			       c->name, c->n_pairs, NET_PAIRS_MAX);
	n = calloc(1, sizeof *n);
	if (!n)
		return err_sys(e, ENOMEM, "network card %s", c->name);
	describe(n, c);
	n->active_pairs = 1;
	n->name = strdup(c->name);
	r = n->name ? rate_init(&n->rx_rate, loop, &c->rx, on_rx_rate, n) : -ENOMEM;
	if (r == 0)
		r = rate_init(&n->tx_rate, loop, &c->tx, on_tx_rate, n);
	for (; n->n_pairs < c->n_pairs && r == 0; n->n_pairs++) {
		struct pair *p = &n->pairs[n->n_pairs];

		p->net = n;
		p->index = (unsigned)n->n_pairs;
		r = loop_add_timer(loop, UINT64_MAX, on_again, p, &p->again);
		if (r == 0)
			r = loop_add_io(loop, c->backends[p->index]->fd, 0, on_io, p, &p->io);
	}
	if (r < 0) {
		net_free(&n->base);
		return err_sys(e, -r, "network card %s", c->name);
	}
	for (size_t i = 0; i < c->n_pairs; i++)
		n->pairs[i].backend = c->backends[i];
	*ret = &n->base;
	return 0;
}

void net_set_rates(struct virtio_device *dev, const struct rate_config *rx, const struct rate_config *tx)
{
	struct net *n = net(dev);

	if (rx)
		rate_set(&n->rx_rate, rx);
	if (tx)
		rate_set(&n->tx_rate, tx);
}

int net_parse_mac(const char *text, uint8_t ret[6])
{
	uint8_t mac[6];

	if (strlen(text) != 17)
		return -EINVAL;
	for (int i = 0; i < 6; i++) {
		char part[3] = { text[3 * i], text[3 * i + 1] };

		if (strspn(part, "0123456789abcdefABCDEF") != 2 || (i < 5 && text[3 * i + 2] != ':'))
			return -EINVAL;
		mac[i] = (uint8_t)strtoul(part, NULL, 16);
	}
	if (mac[0] & 1)
		return -EINVAL;
	memcpy(ret, mac, sizeof mac);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receive: the input descriptor is watched while the guest has a buffer; each event is one read(2) into one buffer, so
 * that a blocking descriptor does no harm. Transmit: a chain is written in pieces of at most PIECE bytes; what is left
 * of it stays in the ring, with `tx_done` telling how far we are, until the output takes more.
 *
 * A watched descriptor at its end reports that for ever, so a watch exists only while it is of use. Regular files
 * cannot be watched (EPERM): they are always ready, and go on by a timer of 0 ms. An output that fails is dropped from
 * then on, as a serial line without a cable does.
 */
#include "virtio/console.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "guestmem/le.h"
#include "state/state.h"
#include "virtio/iov.h"
#include "virtio/serve.h"

#define CONSOLE_F_SIZE (1ULL << 0)

enum { QUEUE_RX, QUEUE_TX, QUEUES };

#define PIECE        65536
#define PIECE_IOVECS 64
#define BUDGET       32
#define RETRY_MS     10 /* no memory for a watch */

struct console_config_space { /* §5.3.4 */
	le16 cols, rows;
	le32 max_nr_ports, emerg_wr;
};

struct console {
	struct virtio_device base;
	struct loop *loop;
	int in, out;
	struct loop_source *watch_in, *watch_out, *again;
	bool in_ready; /* one read will not block */
	bool in_file;  /* none will: a regular file */
	bool in_end;   /* no more input */
	bool out_failed;
	uint32_t tx_done; /* bytes of the next transmit chain that are written */
	uint16_t columns, rows;
	struct virtq_chain chain;
	struct virtq queues[QUEUES];
};

static struct console *console(struct virtio_device *base)
{
	return container_of(base, struct console, base);
}

static void pump_tx(struct console *dev);
static void pump_rx(struct console *dev);

static void unwatch(struct loop_source **watch)
{
	loop_source_free(take_ptr(*watch));
}

static void on_out(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct console *dev = userdata;

	unwatch(&dev->watch_out);
	pump_tx(dev);
}

static void on_in(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct console *dev = userdata;

	dev->in_ready = true;
	pump_rx(dev);
}

/* Write on from tx_done. Bytes written, 0: the output is full; an output that failed takes everything. */
static ssize_t write_piece(struct console *dev, struct virtq_chain *c)
{
	struct iovec iov[PIECE_IOVECS];
	size_t n = iov_slice(virtq_chain_read(c), c->n_read, dev->tx_done, PIECE, iov, PIECE_IOVECS);
	ssize_t r;

	if (dev->out < 0 || dev->out_failed)
		return c->read_len - dev->tx_done;
	do
		r = writev(dev->out, iov, (int)n);
	while (r < 0 && errno == EINTR);
	if (r >= 0)
		return r;
	if (errno == EAGAIN)
		return 0;
	log_warn("console: the output failed: %s; what the guest writes is dropped from now on", strerror(errno));
	dev->out_failed = true;
	return c->read_len - dev->tx_done;
}

static int64_t transmit(struct virtio_device *base, struct virtq_chain *c)
{
	struct console *dev = console(base);
	ssize_t n;

	if (dev->tx_done < c->read_len) {
		n = write_piece(dev, c);
		dev->tx_done += (uint32_t)n;
		if (dev->tx_done < c->read_len) {
			if (n)
				loop_timer_set(dev->again, 0);
			else if (loop_add_io(dev->loop, dev->out, EPOLLOUT, on_out, dev, &dev->watch_out) < 0)
				loop_timer_set(dev->again, RETRY_MS);
			return -EAGAIN;
		}
	}
	dev->tx_done = 0;
	return 0;
}

static void pump_tx(struct console *dev)
{
	if (!dev->watch_out && virtio_serve(&dev->base, QUEUE_TX, &dev->chain, BUDGET, transmit))
		loop_timer_set(dev->again, 0);
}

static int64_t receive(struct virtio_device *base, struct virtq_chain *c)
{
	struct console *dev = console(base);
	ssize_t n;

	if (!c->write_len) {
		virtq_break(&dev->queues[QUEUE_RX], "a console buffer without room");
		return -EPROTO;
	}
	if (!dev->in_ready)
		return -EAGAIN;
	n = readv(dev->in, virtq_chain_write(c), c->n_write);
	dev->in_ready = dev->in_file;
	if (n > 0)
		return n;
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		dev->in_end = true;
	return -EAGAIN;
}

/* Read what is there, and see to it that we hear of more while the guest has room for it. */
static void pump_rx(struct console *dev)
{
	const struct virtq *q = &dev->queues[QUEUE_RX];
	bool room, more;
	int r = 0;

	if (dev->in < 0 || dev->in_end)
		return;
	more = virtio_serve(&dev->base, QUEUE_RX, &dev->chain, BUDGET, receive);
	/* Not for a stopped queue (a pause) or a broken device either: to watch input that nobody reads would spin. */
	room = q->ready && !q->broken && !dev->base.broken && !dev->in_end && q->avail_idx != q->next_avail;
	if (!room)
		unwatch(&dev->watch_in);
	else if (!dev->watch_in && !dev->in_file)
		r = loop_add_io(dev->loop, dev->in, EPOLLIN, on_in, dev, &dev->watch_in);
	if (r == -EPERM)
		dev->in_file = dev->in_ready = more = true;
	else if (r < 0)
		loop_timer_set(dev->again, RETRY_MS);
	if (more && room)
		loop_timer_set(dev->again, 0);
}

static void on_again(struct loop_source *s, void *userdata)
{
	pump_tx(userdata);
	pump_rx(userdata);
}

static void queue_kick(struct virtio_device *base, unsigned queue)
{
	if (queue == QUEUE_TX)
		pump_tx(console(base));
	else
		pump_rx(console(base));
}

static void config_read(struct virtio_device *base, uint32_t offset, void *data, uint32_t len)
{
	struct console *dev = console(base);
	struct console_config_space c = {
		.cols = le16_of(dev->columns),
		.rows = le16_of(dev->rows),
		.max_nr_ports = le32_of(1),
	};

	virtio_config_copy(&c, sizeof c, offset, data, len);
}

static void reset(struct virtio_device *base)
{
	struct console *dev = console(base);

	unwatch(&dev->watch_in);
	unwatch(&dev->watch_out);
	dev->in_ready = dev->in_file;
	dev->tx_done = 0;
}

static void save(struct virtio_device *base, struct state *s)
{
	struct console *dev = console(base);

	state_put_u64(s, "tx-done", dev->tx_done);
	state_put_u64(s, "columns", dev->columns);
	state_put_u64(s, "rows", dev->rows);
}

static int load(struct virtio_device *base, const struct state *s, struct err *e)
{
	struct console *dev = console(base);
	uint64_t done, columns, rows;
	int r;

	if ((r = state_get_max(s, "tx-done", UINT32_MAX, &done, e)) < 0 ||
	    (r = state_get_max(s, "columns", UINT16_MAX, &columns, e)) < 0 ||
	    (r = state_get_max(s, "rows", UINT16_MAX, &rows, e)) < 0)
		return r;
	dev->tx_done = (uint32_t)done;
	dev->columns = (uint16_t)columns;
	dev->rows = (uint16_t)rows;
	return 0;
}

static void device_free(struct virtio_device *base)
{
	struct console *dev = console(base);

	reset(base);
	loop_source_free(dev->again);
	fd_close(&dev->in);
	fd_close(&dev->out);
	free(dev);
}

static const struct virtio_device_ops ops = {
	.queue_kick = queue_kick,
	.config_read = config_read,
	.reset = reset,
	.save = save,
	.load = load,
	.free = device_free,
};

int virtio_console_new(struct loop *loop, const struct virtio_console_config *c, struct virtio_device **ret,
		       struct err *e)
{
	static const uint16_t queue_max[QUEUES] = { 256, 256 };
	struct console *dev = calloc(1, sizeof *dev);

	if (!dev)
		return err_sys(e, ENOMEM, "cannot make the console");
	dev->base = (struct virtio_device){
		.ops = &ops,
		.type = VIRTIO_ID_CONSOLE,
		.features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | CONSOLE_F_SIZE,
		.n_queues = QUEUES,
		.queue_max = queue_max,
		.queues = dev->queues,
	};
	dev->loop = loop;
	dev->in = dev->out = -1; /* the caller's until all is well */
	if (loop_add_timer(loop, UINT64_MAX, on_again, dev, &dev->again) < 0) {
		device_free(&dev->base);
		return err_sys(e, ENOMEM, "cannot make the console");
	}
	/* Input and output are watched apart, which takes two descriptors. */
	dev->out = c->out >= 0 && c->out == c->in ? fcntl(c->out, F_DUPFD_CLOEXEC, 0) : c->out;
	if (dev->out < 0 && c->out >= 0) {
		int code = errno;

		device_free(&dev->base);
		return err_sys(e, code, "cannot duplicate the console's descriptor");
	}
	dev->in = c->in;
	*ret = &dev->base;
	return 0;
}

void virtio_console_set_size(struct virtio_device *base, uint16_t columns, uint16_t rows)
{
	struct console *dev = console(base);

	if (dev->columns == columns && dev->rows == rows)
		return;
	dev->columns = columns;
	dev->rows = rows;
	if (base->active && base->acked & CONSOLE_F_SIZE)
		base->transport->ops->signal_config(base->transport);
}

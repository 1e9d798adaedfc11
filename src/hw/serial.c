/* SPDX-License-Identifier: Apache-2.0 */
/*
 * National Semiconductor PC16550D data sheet. The transmitter is always empty, the line always connected. The interrupt
 * is an edge: it is raised when a cause appears that was not there before.
 */
#include "hw/serial.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "state/state.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCRATCH };

#define IER_RX 1
#define IER_TX 2
#define IER_LS 4

#define IIR_NONE 1
#define IIR_TX   2
#define IIR_RX   4
#define IIR_LS   6
#define IIR_FIFO 0xc0

#define FCR_ENABLE   1
#define FCR_CLEAR_RX 2

#define LCR_DLAB 0x80

#define MCR_LOOP 0x10

#define LSR_READY    1
#define LSR_OVERRUN  2
#define LSR_TX_EMPTY 0x60

#define MSR_CONNECTED 0xb0 /* carrier, data set ready, clear to send */

#define RX_SIZE      64 /* more than the chip's 16: nobody can tell */
#define OUT_SIZE     512
#define OUT_DELAY_MS 5

struct serial {
	int irq, in, out;
	struct loop_source *input, *flush;
	bool flush_armed, input_muted;
	uint8_t ier, lcr, mcr, scratch, dll, dlm, fcr;
	bool tx_pending, overrun;
	uint8_t raised; /* causes that the interrupt was raised for: IER bits */
	uint8_t rx[RX_SIZE];
	unsigned rx_head, rx_len;
	char buf[OUT_SIZE];
	size_t buf_len;
	char tail[SERIAL_TAIL];
	uint64_t tail_pos; /* bytes ever written */
};

static uint8_t causes(const struct serial *s)
{
	return s->ier & ((s->rx_len ? IER_RX : 0) | (s->tx_pending ? IER_TX : 0) | (s->overrun ? IER_LS : 0));
}

static void update_irq(struct serial *s)
{
	uint8_t now = causes(s);
	uint64_t one = 1;

	if ((now & ~s->raised) && s->irq >= 0 && write(s->irq, &one, sizeof one) < 0) {
		/* A full counter is raised already. */
	}
	s->raised = now;
}

/* ---- input ---- */

static void rx_push(struct serial *s, uint8_t c)
{
	if (s->rx_len == RX_SIZE) {
		s->overrun = true;
		return;
	}
	s->rx[(s->rx_head + s->rx_len++) % RX_SIZE] = c;
}

static void drop_input(struct serial *s)
{
	loop_source_free(s->input);
	s->input = NULL;
	s->in = -1;
}

/* Take what fits. */
static void fill(struct serial *s)
{
	uint8_t data[RX_SIZE];
	ssize_t n;

	if (s->in < 0 || s->rx_len == RX_SIZE || (s->mcr & MCR_LOOP))
		return;
	n = read(s->in, data, RX_SIZE - s->rx_len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop_input(s);
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		rx_push(s, data[i]);
	update_irq(s);
}

/* Nothing wakes us for input without a source: it goes on when the guest has done with what it had. */
static void refill(struct serial *s)
{
	if (!s->rx_len && !s->input)
		fill(s);
}

static void set_input_events(struct serial *s)
{
	bool mute = s->rx_len == RX_SIZE || (s->mcr & MCR_LOOP);

	if (s->input && mute != s->input_muted) {
		loop_io_set_events(s->input, mute ? 0 : EPOLLIN);
		s->input_muted = mute;
	}
}

static void on_input(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct serial *s = userdata;

	if (s->input_muted && (revents & (EPOLLERR | EPOLLHUP))) {
		/* Told although muted, again and again: what is left in it stays readable without being waited for. */
		loop_source_free(s->input);
		s->input = NULL;
		return;
	}
	fill(s);
	set_input_events(s);
}

static uint8_t rx_pop(struct serial *s)
{
	uint8_t c = 0;

	if (s->rx_len) {
		c = s->rx[s->rx_head];
		s->rx_head = (s->rx_head + 1) % RX_SIZE;
		s->rx_len--;
	}
	update_irq(s);
	refill(s);
	set_input_events(s);
	return c;
}

/* ---- output ---- */

void serial_flush(struct serial *s)
{
	size_t done = 0;

	while (s->out >= 0 && done < s->buf_len) {
		ssize_t n = write(s->out, s->buf + done, s->buf_len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	s->buf_len = 0;
}

static void on_flush(struct loop_source *source, void *userdata)
{
	struct serial *s = userdata;

	s->flush_armed = false;
	serial_flush(s);
}

static void transmit(struct serial *s, uint8_t c)
{
	s->tx_pending = true;
	if (s->mcr & MCR_LOOP) {
		rx_push(s, c);
		return;
	}
	s->tail[s->tail_pos++ % SERIAL_TAIL] = (char)c;
	if (s->out < 0)
		return;
	s->buf[s->buf_len++] = (char)c;
	if (c == '\n' || s->buf_len == OUT_SIZE) {
		serial_flush(s);
	} else if (!s->flush_armed) {
		s->flush_armed = true;
		loop_timer_set(s->flush, OUT_DELAY_MS);
	}
}

size_t serial_tail(const struct serial *s, char *buf, size_t size)
{
	size_t len = s->tail_pos < SERIAL_TAIL ? (size_t)s->tail_pos : SERIAL_TAIL;

	if (len > size - 1)
		len = size - 1;
	for (size_t i = 0; i < len; i++)
		buf[i] = s->tail[(s->tail_pos - len + i) % SERIAL_TAIL];
	buf[len] = '\0';
	return len;
}

/* ---- registers ---- */

static uint8_t read_iir(struct serial *s)
{
	uint8_t now = causes(s), fifo = s->fcr & FCR_ENABLE ? IIR_FIFO : 0;

	if (now & IER_LS)
		return IIR_LS | fifo;
	if (now & IER_RX)
		return IIR_RX | fifo;
	if (now & IER_TX) {
		s->tx_pending = false;
		update_irq(s);
		return IIR_TX | fifo;
	}
	return IIR_NONE | fifo;
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t v = (uint8_t)(LSR_TX_EMPTY | (s->rx_len ? LSR_READY : 0) | (s->overrun ? LSR_OVERRUN : 0));

	s->overrun = false;
	update_irq(s);
	return v;
}

static uint8_t read_msr(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CONNECTED;
	/* Request to send shows as clear to send, terminal ready as data set ready, outputs 1 and 2 as ring, carrier.
	 */
	return (uint8_t)((s->mcr & 2) << 3 | (s->mcr & 1) << 5 | (s->mcr & 0xc) << 4);
}

static uint8_t read_register(struct serial *s, unsigned reg)
{
	switch (reg) {
	case REG_DATA:
		return s->lcr & LCR_DLAB ? s->dll : rx_pop(s);
	case REG_IER:
		return s->lcr & LCR_DLAB ? s->dlm : s->ier;
	case REG_IIR_FCR:
		return read_iir(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return read_lsr(s);
	case REG_MSR:
		return read_msr(s);
	}
	return s->scratch;
}

static void write_register(struct serial *s, unsigned reg, uint8_t v)
{
	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			s->dll = v;
		else
			transmit(s, v);
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB) {
			s->dlm = v;
			break;
		}
		/* Enabling it while the transmitter is empty raises it. */
		s->tx_pending |= (v & IER_TX) && !(s->ier & IER_TX);
		s->ier = v & 0xf;
		break;
	case REG_IIR_FCR:
		if (v & FCR_CLEAR_RX)
			s->rx_len = 0;
		s->fcr = v & FCR_ENABLE;
		break;
	case REG_LCR:
		s->lcr = v;
		break;
	case REG_MCR:
		s->mcr = v & 0x1f;
		break;
	case REG_SCRATCH:
		s->scratch = v;
		break;
	}
	update_irq(s);
	refill(s); /* it may have cleared the FIFO, or ended a loop */
	set_input_events(s);
}

static void bus_in(void *device, uint64_t offset, void *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		((uint8_t *)data)[i] = read_register(device, (unsigned)(offset + i));
}

static void bus_out(void *device, uint64_t offset, const void *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		write_register(device, (unsigned)(offset + i), ((const uint8_t *)data)[i]);
}

const struct bus_handler serial_bus = { bus_in, bus_out };

int serial_new(struct loop *loop, int irq, int in, int out, struct serial **ret)
{
	struct serial *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return -ENOMEM;
	s->irq = irq;
	s->in = in;
	s->out = out;
	s->dll = 12; /* 9600 baud */
	s->mcr = 8;
	r = loop_add_timer(loop, UINT64_MAX, on_flush, s, &s->flush);
	if (r == 0 && in >= 0)
		r = loop_add_io(loop, in, EPOLLIN, on_input, s, &s->input);
	if (r == -EPERM) /* a file or /dev/null, which epoll(7) does not wait for: it is always ready */
		r = 0;
	if (r < 0) {
		serial_free(s);
		return r;
	}
	if (in >= 0 && !s->input)
		fill(s);
	*ret = s;
	return 0;
}

void serial_free(struct serial *s)
{
	if (!s)
		return;
	serial_flush(s);
	loop_source_free(s->input);
	loop_source_free(s->flush);
	free(s);
}

void serial_save(const struct serial *s, struct state *state)
{
	uint8_t regs[] = { s->ier, s->lcr, s->mcr, s->scratch, s->dll, s->dlm, s->fcr, s->tx_pending, s->overrun };
	uint8_t rx[RX_SIZE];

	for (unsigned i = 0; i < s->rx_len; i++)
		rx[i] = s->rx[(s->rx_head + i) % RX_SIZE];
	state_put_bytes(state, "registers", regs, sizeof regs);
	state_put_bytes(state, "received", rx, s->rx_len);
}

int serial_load(struct serial *s, const struct state *state, struct err *e)
{
	uint8_t regs[9];
	const void *rx;
	size_t len;
	int r = state_get_bytes(state, "registers", regs, sizeof regs, e);

	if (r == 0)
		r = state_get_blob(state, "received", &rx, &len, e);
	if (r < 0)
		return r;
	if (len > RX_SIZE)
		return err_set(e, ERR_CONFIG, EINVAL, "received: longer than the port's memory");
	s->ier = regs[0] & 0xf;
	s->lcr = regs[1];
	s->mcr = regs[2] & 0x1f;
	s->scratch = regs[3];
	s->dll = regs[4];
	s->dlm = regs[5];
	s->fcr = regs[6] & FCR_ENABLE;
	s->tx_pending = regs[7];
	s->overrun = regs[8];
	s->rx_head = 0;
	s->rx_len = (unsigned)len;
	memcpy(s->rx, rx, len);
	/* An edge that was on its way is in the interrupt controller's state; one too many does no harm. */
	s->raised = 0;
	update_irq(s);
	refill(s);
	set_input_events(s);
	return 0;
}

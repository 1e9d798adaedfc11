/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IBM PS/2 Technical Reference, "Keyboard and Auxiliary Device Controller". One queue of bytes for the guest; the
 * interrupt is raised for each byte that comes to its head. There is no mouse.
 */
#include "hw/i8042.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "state/state.h"

#define PORT_DATA    0
#define PORT_SPEAKER 1
#define PORT_COMMAND 4

#define SPEAKER_TIMER_OUT 0x20

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SELF_TESTED 0x04
#define STATUS_COMMAND     0x08
#define STATUS_UNLOCKED    0x10

#define CONTROL_IRQ       0x01
#define CONTROL_TESTED    0x04
#define CONTROL_DISABLED  0x10
#define CONTROL_NO_MOUSE  0x20
#define CONTROL_TRANSLATE 0x40

#define COMMAND_READ_CONTROL  0x20
#define COMMAND_WRITE_CONTROL 0x60
#define COMMAND_TEST_MOUSE    0xa9
#define COMMAND_SELF_TEST     0xaa
#define COMMAND_TEST_KEYBOARD 0xab
#define COMMAND_DISABLE       0xad
#define COMMAND_ENABLE        0xae
#define COMMAND_READ_OUTPUT   0xd0
#define COMMAND_WRITE_OUTPUT  0xd1
#define COMMAND_ECHO          0xd2
#define COMMAND_RESET         0xfe

#define OUTPUT_NO_RESET 1

#define KEYBOARD_ACK     0xfa
#define KEYBOARD_LEDS    0xed
#define KEYBOARD_ECHO    0xee
#define KEYBOARD_SET     0xf0
#define KEYBOARD_ID      0xf2
#define KEYBOARD_RATE    0xf3
#define KEYBOARD_ENABLE  0xf4
#define KEYBOARD_DISABLE 0xf5
#define KEYBOARD_RESET   0xff
#define KEYBOARD_PASSED  0xaa

#define QUEUE_SIZE 32

struct i8042 {
	int irq;
	void (*reset)(void *userdata);
	void *userdata;
	uint8_t control, output;
	uint8_t command;     /* of the controller, which waits for a data byte; 0: none */
	uint8_t kbd_command; /* of the keyboard, likewise */
	uint8_t set;         /* scan code set */
	bool scanning, last_was_command;
	uint8_t queue[QUEUE_SIZE];
	unsigned head, len;
};

static void raise_irq(struct i8042 *k)
{
	uint64_t one = 1;

	if (k->len && (k->control & CONTROL_IRQ) && k->irq >= 0 && write(k->irq, &one, sizeof one) < 0) {
		/* A full counter is raised already. */
	}
}

static void push(struct i8042 *k, uint8_t c)
{
	if (k->len == QUEUE_SIZE)
		return;
	k->queue[(k->head + k->len++) % QUEUE_SIZE] = c;
	if (k->len == 1)
		raise_irq(k);
}

static uint8_t pop(struct i8042 *k)
{
	uint8_t c = k->queue[k->head];

	/* Empty: the last byte again, as the chip does. */
	if (!k->len)
		return k->queue[(k->head + QUEUE_SIZE - 1) % QUEUE_SIZE];
	k->head = (k->head + 1) % QUEUE_SIZE;
	k->len--;
	raise_irq(k);
	return c;
}

static void keyboard_data(struct i8042 *k, uint8_t v)
{
	uint8_t command = k->kbd_command;

	k->kbd_command = 0;
	push(k, KEYBOARD_ACK);
	if (command != KEYBOARD_SET)
		return;
	if (v == 0)
		push(k, k->set);
	else if (v <= 3)
		k->set = v;
}

static void keyboard_command(struct i8042 *k, uint8_t v)
{
	if (v == KEYBOARD_ECHO) {
		push(k, KEYBOARD_ECHO);
		return;
	}
	push(k, KEYBOARD_ACK);
	switch (v) {
	case KEYBOARD_LEDS:
	case KEYBOARD_SET:
	case KEYBOARD_RATE:
		k->kbd_command = v;
		break;
	case KEYBOARD_ID:
		push(k, 0xab);
		push(k, k->control & CONTROL_TRANSLATE ? 0x41 : 0x83);
		break;
	case KEYBOARD_ENABLE:
		k->scanning = true;
		break;
	case KEYBOARD_DISABLE:
		k->scanning = false;
		break;
	case KEYBOARD_RESET:
		k->set = 2;
		k->scanning = true;
		push(k, KEYBOARD_PASSED);
		break;
	}
}

static void write_output(struct i8042 *k, uint8_t v)
{
	k->output = v;
	if (!(v & OUTPUT_NO_RESET))
		k->reset(k->userdata);
}

static void write_data(struct i8042 *k, uint8_t v)
{
	uint8_t command = k->command;

	k->command = 0;
	switch (command) {
	case COMMAND_WRITE_CONTROL:
		k->control = v;
		raise_irq(k);
		return;
	case COMMAND_WRITE_OUTPUT:
		write_output(k, v);
		return;
	case COMMAND_ECHO:
		push(k, v);
		return;
	case 0:
		if (k->kbd_command)
			keyboard_data(k, v);
		else
			keyboard_command(k, v);
	}
}

static void write_command(struct i8042 *k, uint8_t v)
{
	k->command = 0;
	switch (v) {
	case COMMAND_READ_CONTROL:
		push(k, k->control);
		break;
	case COMMAND_WRITE_CONTROL:
	case COMMAND_WRITE_OUTPUT:
	case COMMAND_ECHO:
	case 0xd3: /* to the mouse: swallowed with its data byte */
	case 0xd4:
		k->command = v;
		break;
	case COMMAND_TEST_MOUSE:
		push(k, 0xff); /* nothing connected */
		break;
	case COMMAND_SELF_TEST:
		k->control |= CONTROL_TESTED;
		push(k, 0x55);
		break;
	case COMMAND_TEST_KEYBOARD:
		push(k, 0);
		break;
	case COMMAND_DISABLE:
		k->control |= CONTROL_DISABLED;
		break;
	case COMMAND_ENABLE:
		k->control &= (uint8_t)~CONTROL_DISABLED;
		break;
	case COMMAND_READ_OUTPUT:
		push(k, k->output);
		break;
	}
	/* 0xf0 to 0xff pulse the lines whose bit is 0; bit 0 is the reset. */
	if (v >= 0xf0 && !(v & OUTPUT_NO_RESET))
		k->reset(k->userdata);
}

static void bus_in(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct i8042 *k = device;
	uint8_t *p = data;

	for (uint32_t i = 0; i < len; i++) {
		uint64_t port = offset + i;

		if (port == PORT_DATA)
			p[i] = pop(k);
		else if (port == PORT_SPEAKER)
			p[i] = SPEAKER_TIMER_OUT;
		else if (port == PORT_COMMAND)
			p[i] = (uint8_t)(STATUS_UNLOCKED | (k->len ? STATUS_OUTPUT_FULL : 0) |
					 (k->control & CONTROL_TESTED ? STATUS_SELF_TESTED : 0) |
					 (k->last_was_command ? STATUS_COMMAND : 0));
		else
			p[i] = 0xff;
	}
}

static void bus_out(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct i8042 *k = device;
	const uint8_t *p = data;

	for (uint32_t i = 0; i < len; i++) {
		if (offset + i == PORT_DATA)
			write_data(k, p[i]);
		else if (offset + i == PORT_COMMAND)
			write_command(k, p[i]);
		else
			continue;
		k->last_was_command = offset + i == PORT_COMMAND;
	}
}

const struct bus_handler i8042_bus = { bus_in, bus_out };

int i8042_ctrl_alt_del(struct i8042 *k)
{
	static const uint8_t set1[] = { 0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d };
	static const uint8_t set2[] = { 0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0, 0x14 };
	bool translated = k->control & CONTROL_TRANSLATE;
	const uint8_t *keys = translated ? set1 : set2;
	size_t n = translated ? sizeof set1 : sizeof set2;

	if (QUEUE_SIZE - k->len < n || !k->scanning || (k->control & CONTROL_DISABLED))
		return -EBUSY;
	for (size_t i = 0; i < n; i++)
		push(k, keys[i]);
	return 0;
}

int i8042_new(int irq, void (*reset)(void *userdata), void *userdata, struct i8042 **ret)
{
	struct i8042 *k = calloc(1, sizeof *k);

	if (!k)
		return -ENOMEM;
	k->irq = irq;
	k->reset = reset;
	k->userdata = userdata;
	/* As firmware leaves it. */
	k->control = CONTROL_TESTED | CONTROL_NO_MOUSE | CONTROL_TRANSLATE;
	k->output = OUTPUT_NO_RESET | 2; /* and address line 20 is open */
	k->set = 2;
	k->scanning = true;
	*ret = k;
	return 0;
}

void i8042_free(struct i8042 *k)
{
	free(k);
}

void i8042_save(const struct i8042 *k, struct state *s)
{
	uint8_t regs[] = {
		k->control, k->output,   k->command,          k->kbd_command,
		k->set,     k->scanning, k->last_was_command, k->queue[(k->head + QUEUE_SIZE - 1) % QUEUE_SIZE]
	};
	uint8_t queue[QUEUE_SIZE];

	for (unsigned i = 0; i < k->len; i++)
		queue[i] = k->queue[(k->head + i) % QUEUE_SIZE];
	state_put_bytes(s, "registers", regs, sizeof regs);
	state_put_bytes(s, "queue", queue, k->len);
}

int i8042_load(struct i8042 *k, const struct state *s, struct err *e)
{
	const void *queue;
	uint8_t regs[8];
	size_t len;
	int r = state_get_bytes(s, "registers", regs, sizeof regs, e);

	if (r == 0)
		r = state_get_blob(s, "queue", &queue, &len, e);
	if (r < 0)
		return r;
	if (len > QUEUE_SIZE)
		return err_set(e, ERR_CONFIG, EINVAL, "queue: longer than the controller's memory");
	k->control = regs[0];
	k->output = regs[1];
	k->command = regs[2];
	k->kbd_command = regs[3];
	k->set = regs[4];
	k->scanning = regs[5];
	k->last_was_command = regs[6];
	k->head = 0;
	k->len = (unsigned)len;
	k->queue[QUEUE_SIZE - 1] = regs[7];
	memcpy(k->queue, queue, len);
	raise_irq(k);
	return 0;
}

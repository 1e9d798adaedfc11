/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PC's keyboard controller as far as machines without a keyboard need it: a guest resets by it, and Ctrl-Alt-Del is
 * pressed on it. Ports 0x60 to 0x64; port 0x61 between them says that the timer's time is over, so that nobody waits.
 */
#pragma once

#include "hw/bus.h"

#define I8042_PORTS 5

struct i8042;
struct state;

extern const struct bus_handler i8042_bus;

/* irq: eventfd, not taken over. reset: the guest pulls the reset line. 0 or -ENOMEM. */
int i8042_new(int irq, void (*reset)(void *userdata), void *userdata, struct i8042 **ret);
/* NULL does nothing. */
void i8042_free(struct i8042 *k);
DEFINE_CLEANUP(struct i8042 *, i8042_free)

/* Press and release Ctrl, Alt and Delete. -EBUSY: the guest does not read its keyboard. */
int i8042_ctrl_alt_del(struct i8042 *k);

void i8042_save(const struct i8042 *k, struct state *s);
int i8042_load(struct i8042 *k, const struct state *s, struct err *e);

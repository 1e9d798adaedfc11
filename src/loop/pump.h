/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two connected stream sockets tied together: what comes from one goes to the other, with back-pressure both ways and
 * at most PUMP_CHUNK bytes in memory for each. The end of one direction is passed on (shutdown(2)) and leaves the other
 * open. A TCP peer of a connection that broke is reset, as whoever it wanted to reach would have done.
 */
#pragma once

#include "loop/loop.h"

#define PUMP_CHUNK 16384

struct pump;

/*
 * a, b: taken over, also on failure. done: once, from the loop, when both directions have ended: may free the pump,
 * which does nothing any more. 0 or -errno.
 */
int pump_new(struct loop *loop, int a, int b, void (*done)(void *userdata), void *userdata, struct pump **ret);
/* Closes both; before the end, as if the connection had broken. NULL does nothing. */
void pump_free(struct pump *p);

/* Who is connected to fd, if that is TCP, shall see a reset when it is closed, and not an orderly end. */
void pump_reset_on_close(int fd);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's device events. Whoever waits for a device looks at sysfs again at each event: events say when to look,
 * never what is there, so a lost one costs time but nothing else.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "loop/loop.h"

struct uevent {
	const char *action, *devpath, *subsystem, *devname, *modalias; /* inside the datagram; "" where missing */
};

/* Read one datagram ("add@/devices/…" NUL "KEY=value" NUL …). It must end with a NUL byte. 0 or -EBADMSG. */
int uevent_parse(const char *datagram, size_t n, struct uevent *ret);

struct uevent_monitor;
typedef void (*uevent_fn)(const struct uevent *ev, void *userdata);
int uevent_monitor_new(struct loop *loop, uevent_fn fn, void *userdata, struct uevent_monitor **ret, struct err *e);
void uevent_monitor_free(struct uevent_monitor *m);

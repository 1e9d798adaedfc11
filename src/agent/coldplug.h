/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drivers for devices, where the agent is PID 1: what udev does in a larger system. A device names its driver by a
 * MODALIAS, which the image's modules.alias turns into a module. Devices that were there before us are looked up once
 * in sysfs ("cold plug"), later ones come by the kernel's events.
 *
 * Those that a container can wait for at first (disks, networks, shared folders) get their drivers at once; those that
 * nobody waits for (entropy, balloon) a moment later, one at a time, so that the first
 * container does not wait for them either.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "agent/uevent.h"
#include "base/err.h"
#include "loop/loop.h"

struct coldplug;

/* Looks at what is there now. */
int coldplug_new(struct loop *loop, struct coldplug **ret, struct err *e);
void coldplug_free(struct coldplug *c);
/* A device has come: load its driver. NULL c does nothing. */
void coldplug_event(struct coldplug *c, const struct uevent *ev);

/* Can the driver of this device wait? */
bool coldplug_is_lazy(const char *modalias);
/* Call fn with the MODALIAS of each device in SYS/bus/BUS/devices that has no driver yet. 0 or -errno. */
int coldplug_scan(const char *sys, const char *bus, void (*fn)(const char *modalias, void *userdata), void *userdata);

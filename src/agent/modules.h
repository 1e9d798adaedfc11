/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel modules: the list of a small initramfs, and single ones by name. */
#pragma once

#include <stddef.h>

#include "base/err.h"

/* The initramfs's modules: one path per line, in load order, then parameters if any; "#" begins a comment. */
#define MODULES_LIST "/etc/caisson/modules"

/*
 * Load every module of a list. One that has no device here, or is loaded already, is no failure; others are logged.
 * Returns the number of those that failed, 0 also when there is no list.
 */
int modules_load_list(const char *list);

/* The driver of a device with this MODALIAS, if the image has one; failures are logged. Does not wait for a modprobe.
 */
void module_load_for_device(const char *modalias);
/*
 * A file system that mount(2) would have the kernel start modprobe for. Only saves that start: does nothing where the
 * image's modprobe is not we.
 */
void module_load_for_filesystem(const char *fstype);

/*
 * For a container that may set up a packet filter: the old form of iptables starts a modprobe of its own for the
 * modules that it talks to, and a container has none. The tables behind them the kernel asks for by itself. Does
 * nothing where the image's modprobe is not we.
 */
void module_load_for_iptables(void);

/* Load one by name, with its dependencies: through the guest's modprobe where there is one. At most 10 s. */
int module_load(const char *name, char *const *parameters, size_t n, struct err *e);

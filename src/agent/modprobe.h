/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent as modprobe(8): in an initramfs it makes /sbin/modprobe a link to itself. The kernel starts it for what it
 * misses (a file system at mount(2), a part of the packet filter), the agent itself for what a request needs.
 *
 * Reads modules.dep and modules.alias as depmod writes them. Both come with the image and are trusted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/strv.h"

/* Is this program being called as modprobe? */
bool modprobe_called(const char *argv0);

/*
 * Files to load for a module or alias, in order, relative to dir (/lib/modules/VERSION); the last is the module itself,
 * what stands before it are its dependencies. Several modules may share an alias: each is listed so.
 * -ENOENT when dir knows no such module.
 */
int modprobe_resolve(const char *dir, const char *name, struct strv *ret);

/*
 * Load a module or what stands behind an alias, with its dependencies, into this kernel, from /lib/modules/VERSION.
 * parameters: of the module itself, "" for none. -ENOENT: there is no such module.
 */
int modprobe_load(const char *name, const char *parameters, bool quiet);

/* "modprobe [-q] [-b] [-a] [--] NAME [PARAMETER…]"; returns the exit status. */
int modprobe_main(int argc, char **argv);

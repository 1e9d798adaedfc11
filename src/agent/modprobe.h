/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent as modprobe(8): in an initramfs it makes /sbin/modprobe a link to itself. The kernel starts it for what it
 * misses (a file system at mount(2), a part of the packet filter), the agent itself for what a request needs.
 *
 * Reads modules.dep and modules.alias as depmod writes them. Both come with the image, or from the host, and are
 * trusted.
 *
 * The initramfs holds what most guests need, because each byte of it is memory of every guest. All other modules of its
 * kernel are files of the host: where that shares files with the guest, it shares them, too (pod/plan.c), and one that
 * is asked for is read then.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/strv.h"

/* Where the host shares /lib/modules of the guest's kernel: GUEST_MODULES_DIR of pod/plan.h. */
#define MODPROBE_SHARED_DIR "/run/kata-containers/shared/containers/guest-modules"

/* Is this program being called as modprobe? */
bool modprobe_called(const char *argv0);

/*
 * Files to load for a module or alias, in order, relative to dir (/lib/modules/VERSION); the last is the module itself,
 * what stands before it are its dependencies. Several modules may share an alias: each is listed so.
 * -ENOENT when dir knows no such module.
 */
int modprobe_resolve(const char *dir, const char *name, struct strv *ret);

/*
 * The same as full paths, out of the first of n folders in which all of the files are; or, where they are in none, out
 * of the first that knows the name. On failure, what modprobe_resolve() says about the first folder.
 */
int modprobe_find(const char *const *dirs, size_t n, const char *name, struct strv *ret);

/*
 * Load a module or what stands behind an alias, with its dependencies, into this kernel, from /lib/modules/VERSION or,
 * what is not there, from MODPROBE_SHARED_DIR/VERSION.
 * parameters: of the module itself, "" for none. -ENOENT: there is no such module.
 */
int modprobe_load(const char *name, const char *parameters, bool quiet);

/* "modprobe [-q] [-b] [-a] [--] NAME [PARAMETER…]"; returns the exit status. */
int modprobe_main(int argc, char **argv);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer, any bytes, applied to a directory. As in the program the directory is the root, but only of a thread:
 * unshare(CLONE_FS) gives that one a root of its own, so the fuzzer itself still finds its corpus. Needs root; without
 * it only the names are looked at.
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "unpack/layer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char root[] = "/dev/shm/layer_fuzz.XXXXXX";

static void remove_root(void)
{
	dir_remove(root);
}

static void *apply(void *arg)
{
	struct layer_params p = *(struct layer_params *)arg;
	struct err e = { 0 };

	if (unshare(CLONE_FS) < 0 || chroot(root) < 0 || chdir("/") < 0)
		return NULL;
	layer_apply(&p, &e);
	/* A second layer on top: whiteouts and links meet what the first one left. */
	layer_apply(&p, &e);
	layer_copy_members(&p, 4096, &e);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int made;
	/* No device nodes, no owners: the fuzzer runs on a developer's machine. */
	struct layer_params p = { .fd = -1, .data = data, .size = size, .max_bytes = 1 << 20, .max_entries = 200 };
	char name[256], clean[PATH_MAX];
	pthread_t thread;

	if (!size)
		return 0;
	snprintf(name, sizeof name, "%.*s", (int)(size < 255 ? size : 255), (const char *)data);
	if (layer_clean_path(name, clean) == 0 &&
	    (clean[0] == '/' || !strcmp(clean, "..") || !strncmp(clean, "../", 3)))
		abort();
	if (!made) {
		if (!mkdtemp(root))
			abort();
		atexit(remove_root);
		/* Warnings about each entry would drown the fuzzer's own words. */
		made = 1;
	}
	if (geteuid() != 0 || pthread_create(&thread, NULL, apply, &p) != 0)
		return 0;
	pthread_join(thread, NULL);
	dir_remove(root);
	mkdir(root, 0700);
	return 0;
}

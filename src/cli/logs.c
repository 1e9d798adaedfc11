/* SPDX-License-Identifier: Apache-2.0 */
/* caisson logs: what a container printed, or its guest's console. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "cli/command.h"
#include "pod/output_log.h"
#include "pod/state.h"

static int copy_new(int fd)
{
	char block[65536];
	ssize_t n;

	while ((n = read(fd, block, sizeof block)) > 0)
		if (fd_write_full(STDOUT_FILENO, block, (size_t)n) < 0)
			return -EPIPE;
	return n < 0 ? -errno : 0;
}

/*
 * Show the older half, then the newer one; with follow, go on while the container lives. The writer renames the newer
 * to the older file when it is full: a changed inode means that the rest of ours is under the old name, still open.
 */
static int show(const char *dir, const char *file, bool follow, const char *root, const char *id)
{
	char path[PATH_MAX], old[PATH_MAX];
	_cleanup_close_ int fd = -1;
	int r = 0;

	snprintf(path, sizeof path, "%s/%s", dir, file);
	snprintf(old, sizeof old, "%s/%s.1", dir, file);
	fd = open(old, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && (r = copy_new(fd)) < 0)
		return r;
	fd_close(&fd);
	for (;;) {
		_cleanup_pod_state_ struct pod_state s = { 0 };
		struct stat ours, now;
		bool alive = false;

		if (fd < 0)
			fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && (r = copy_new(fd)) < 0)
			return r;
		if (!follow || state_read(root, id, &s, &alive, NULL) < 0 || !alive)
			return fd >= 0 ? copy_new(fd) : 0;
		if (fd >= 0 && fstat(fd, &ours) == 0 && stat(path, &now) == 0 && ours.st_ino != now.st_ino)
			fd_close(&fd);
		else
			usleep(100000);
	}
}

int command_logs(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = {
		{ "follow", no_argument, NULL, 'f' },
		{ "console", no_argument, NULL, 'c' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	_cleanup_pod_state_ struct pod_state s = { 0 };
	char dir[2 * PATH_MAX];
	const char *root = g->root;
	bool follow = false, console = false, alive;
	struct err e = { 0 };
	int flag, r;

	while ((flag = getopt_long(argc, argv, "f", options, NULL)) != -1) {
		if (flag == 'f')
			follow = true;
		else if (flag == 'c')
			console = true;
		else if (flag == 'r')
			root = optarg;
		else
			break;
	}
	if (flag != -1 || optind + 1 != argc) {
		fprintf(flag == 'h' ? stdout : stderr, "usage: caisson logs [--follow] [--console] [--root DIR] ID\n");
		return flag == 'h' ? 0 : EXIT_CAISSON;
	}
	if (state_read(root, argv[optind], &s, &alive, &e) < 0) {
		log_error("%s", e.text);
		return EXIT_CAISSON;
	}
	snprintf(dir, sizeof dir, "%s/%s", root, s.id);
	r = show(dir, console ? "console.log" : OUTPUT_LOG_NAME, follow, root, s.id);
	if (r < 0 && r != -EPIPE) {
		log_error("cannot show the log of %s: %s", s.id, strerror(-r));
		return EXIT_CAISSON;
	}
	return 0;
}

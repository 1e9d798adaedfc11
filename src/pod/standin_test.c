/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "pod/standin.h"
#include "sys/mounts.h"
#include "sys/shown_args.h"

static void await_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 30000), 1);
}

static int wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void start(const struct standin_params *p, pid_t *pid, int *fd)
{
	struct err e = { 0 };

	if (standin_start(p, pid, fd, &e) < 0)
		fail_msg("%s", e.text);
}

static void test_ends_with_the_status(void **state)
{
	static const int statuses[] = { 0, 3, 137, 255 };

	for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
		int fd, status;
		pid_t pid;

		start(&(struct standin_params){ .name = "c1", .terminal_fd = -1 }, &pid, &fd);
		assert_int_equal(standin_end(fd, statuses[i]), 0);
		status = wait_for(pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), statuses[i]);
		assert_int_equal(standin_read(fd, &status), STANDIN_GONE);
		assert_true(standin_end(fd, 0) < 0);
		close(fd);
	}
}

static void command_line(pid_t pid, char *ret, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	n = read(fd, ret, size - 1);
	close(fd);
	assert_true(n > 0);
	for (ssize_t i = 0; i < n; i++)
		ret[i] = ret[i] ? ret[i] : ' ';
	ret[n] = '\0';
}

/* What people see in lists of processes (podman top, docker top, ps). */
static void test_shows_its_arguments(void **state)
{
	char *args[] = { (char *)"/bin/sleep", (char *)"", (char *)"1000" };
	char large[SHOWN_ARGS_MAX + 10], ours[SHOWN_ARGS_MAX], line[SHOWN_ARGS_MAX + 10];
	struct standin_params p = { .terminal_fd = -1, .args = args, .n_args = 3 };
	pid_t pid;
	int fd;

	start(&p, &pid, &fd);
	command_line(pid, line, sizeof line);
	assert_string_equal(line, "/bin/sleep  1000 ");
	standin_end(fd, 0);
	wait_for(pid);
	close(fd);

	memset(large, 'x', sizeof large - 1);
	large[sizeof large - 1] = '\0';
	args[2] = large;
	start(&p, &pid, &fd);
	command_line(pid, line, sizeof line);
	assert_int_equal(strlen(line), SHOWN_ARGS_MAX);
	standin_end(fd, 0);
	wait_for(pid);
	close(fd);

	p.n_args = 0;
	start(&p, &pid, &fd);
	command_line(pid, line, sizeof line);
	command_line(getpid(), ours, sizeof ours);
	assert_string_equal(line, ours);
	standin_end(fd, 0);
	wait_for(pid);
	close(fd);
}

static void test_ends_with_its_owner(void **state)
{
	int fd, status;
	pid_t pid;

	start(&(struct standin_params){ .terminal_fd = -1 }, &pid, &fd);
	close(fd);
	status = wait_for(pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 255);
}

static void test_killed(void **state)
{
	int fd, signo;
	pid_t pid;

	start(&(struct standin_params){ .terminal_fd = -1 }, &pid, &fd);
	assert_int_equal(standin_read(fd, &signo), STANDIN_NOTHING);
	kill(pid, SIGKILL);
	await_readable(fd);
	assert_int_equal(standin_read(fd, &signo), STANDIN_GONE);
	assert_int_equal(WTERMSIG(wait_for(pid)), SIGKILL);
	close(fd);
}

/* Whatever is sent is told, stopping and dying by default or not. */
static void test_passes_signals_on(void **state)
{
	int fd, signo;
	pid_t pid;

	start(&(struct standin_params){ .terminal_fd = -1 }, &pid, &fd);
	for (int i = 1; i < NSIG; i++) {
		if (i == SIGKILL || i == SIGSTOP || i == SIGCHLD || i == 32 || i == 33)
			continue;
		assert_int_equal(kill(pid, i), 0);
		await_readable(fd);
		assert_int_equal(standin_read(fd, &signo), STANDIN_SIGNAL);
		assert_int_equal(signo, i);
	}
	assert_int_equal(standin_end(fd, 0), 0);
	wait_for(pid);
	close(fd);
}

/* An owner that does not read is no reason to miss the end. */
static void test_flood(void **state)
{
	int fd, told = 0, signo;
	pid_t pid;

	start(&(struct standin_params){ .terminal_fd = -1 }, &pid, &fd);
	for (int i = 0; i < 20000; i++) {
		kill(pid, SIGUSR1);
		kill(pid, SIGUSR2);
	}
	assert_int_equal(standin_end(fd, 7), 0);
	assert_int_equal(WEXITSTATUS(wait_for(pid)), 7);
	while (standin_read(fd, &signo) == STANDIN_SIGNAL)
		told++;
	assert_in_range(told, 1, 40000);
	close(fd);
}

static void link_of(pid_t pid, const char *what, char *out, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
	n = readlink(path, out, size - 1);
	assert_true(n > 0);
	out[n] = '\0';
}

/* It holds what it was told to, and nothing else: its pair, the signals. */
static void test_descriptors(void **state)
{
	char path[64], link[64], null[64];
	int fd, p[2], kept[2], before = (int)count_entries("/proc/self/fd");
	pid_t pid;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	kept[0] = fcntl(p[0], F_DUPFD_CLOEXEC, 200);
	kept[1] = fcntl(p[1], F_DUPFD_CLOEXEC, 100);
	start(
		&(struct standin_params){
			.name = "a-very-long-name-of-it", .terminal_fd = -1, .keep_fds = kept, .n_keep_fds = 2 },
		&pid, &fd);
	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	assert_int_equal(count_entries(path), 2 + 3 + 2 + 2);
	link_of(pid, "fd/0", null, sizeof null);
	assert_string_equal(null, "/dev/null");
	link_of(pid, "fd/200", link, sizeof link);
	assert_non_null(strstr(link, "pipe:"));
	link_of(pid, "fd/100", link, sizeof link);
	assert_non_null(strstr(link, "pipe:"));
	link_of(pid, "cwd", link, sizeof link);
	assert_string_equal(link, "/");
	standin_end(fd, 0);
	wait_for(pid);
	close(fd);
	for (int i = 0; i < 2; i++) {
		close(p[i]);
		close(kept[i]);
	}
	assert_int_equal(count_entries("/proc/self/fd"), before);
}

static void test_keeps_stdio(void **state)
{
	char ours[64], its[64];
	int fd;
	pid_t pid;

	start(&(struct standin_params){ .keep_stdio = true, .terminal_fd = -1 }, &pid, &fd);
	for (int i = 0; i < 3; i++) {
		char what[8];

		snprintf(what, sizeof what, "fd/%d", i);
		link_of(getpid(), what, ours, sizeof ours);
		link_of(pid, what, its, sizeof its);
		assert_string_equal(ours, its);
	}
	standin_end(fd, 0);
	wait_for(pid);
	close(fd);
}

static void test_name(void **state)
{
	_cleanup_free_ char *comm = NULL;
	char path[64];
	int fd;
	pid_t pid;

	start(&(struct standin_params){ .name = "web", .terminal_fd = -1 }, &pid, &fd);
	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	assert_int_equal(file_read(path, 64, &comm, NULL), 0);
	assert_string_equal(comm, "web\n");
	standin_end(fd, 0);
	wait_for(pid);
	close(fd);
}

/* A change of the window's size arrives, since the pty is its controlling terminal; SIGWINCH by hand is a signal. */
static void test_terminal(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave, fd, signo;
	struct winsize size = { .ws_row = 40, .ws_col = 100 };
	char link[64], name[64];
	pid_t pid;

	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	assert_int_equal(ptsname_r(master, name, sizeof name), 0);
	slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	start(&(struct standin_params){ .terminal_fd = slave }, &pid, &fd);
	link_of(pid, "fd/1", link, sizeof link);
	assert_string_equal(link, name);
	assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
	await_readable(fd);
	assert_int_equal(standin_read(fd, &signo), STANDIN_WINCH);
	kill(pid, SIGWINCH);
	await_readable(fd);
	assert_int_equal(standin_read(fd, &signo), STANDIN_SIGNAL);
	assert_int_equal(signo, SIGWINCH);
	/* The terminal's other end goes: the session's leader hears of it. */
	close(slave);
	close(master);
	await_readable(fd);
	assert_int_equal(standin_read(fd, &signo), STANDIN_SIGNAL);
	assert_int_equal(signo, SIGHUP);
	standin_end(fd, 0);
	wait_for(pid);
	close(fd);
}

static void test_network(void **state)
{
	char ours[64], its[64], joined[64], path[64];
	_cleanup_free_ char *up = NULL;
	int fd, other_fd;
	pid_t pid, other;
	struct err e = { 0 };

	if (geteuid() != 0)
		skip();
	start(&(struct standin_params){ .new_netns = true, .terminal_fd = -1 }, &pid, &fd);
	link_of(getpid(), "ns/net", ours, sizeof ours);
	link_of(pid, "ns/net", its, sizeof its);
	assert_string_not_equal(ours, its);
	snprintf(path, sizeof path, "/proc/%d/net/if_inet6", pid);
	assert_int_equal(file_read(path, 4096, &up, NULL), 0);
	assert_non_null(strstr(up, "00000000000000000000000000000001"));
	/* Another joins it. */
	snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
	start(&(struct standin_params){ .netns = path, .terminal_fd = -1 }, &other, &other_fd);
	link_of(other, "ns/net", joined, sizeof joined);
	assert_string_equal(joined, its);
	standin_end(fd, 0);
	standin_end(other_fd, 0);
	wait_for(pid);
	wait_for(other);
	close(fd);
	close(other_fd);
	assert_int_equal(standin_start(&(struct standin_params){ .netns = "/nowhere", .name = "c9", .terminal_fd = -1 },
				       &pid, &fd, &e),
			 -ENOENT);
	assert_non_null(strstr(e.text, "c9"));
	assert_non_null(strstr(e.text, "network namespace"));
	assert_int_equal(waitpid(-1, NULL, 0), -1);
}

/* Who looks into the container's /proc does not see the host's processes. */
static void test_alone(void **state)
{
	char path[64];
	int fd;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	start(&(struct standin_params){ .terminal_fd = -1 }, &pid, &fd);
	snprintf(path, sizeof path, "/proc/%d/root/proc/1/comm", pid);
	assert_int_equal(access(path, R_OK), 0);
	snprintf(path, sizeof path, "/proc/%d/root/proc/%d", pid, getpid());
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof path, "/proc/%d/root/proc/2", pid);
	assert_int_equal(access(path, F_OK), -1);
	standin_end(fd, 0);
	wait_for(pid);
	close(fd);
}

/* The errno of making a file in what it sees. */
static int try_write(pid_t pid, const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof path, "/proc/%d/root/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* The container's root is not on the host: its clients find nothing, and nothing of the host's in its place. */
static void test_shown_nothing(void **state)
{
	char path[128];
	struct statvfs fs = { 0 };
	struct stat st;
	int fd, r = -1;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	start(&(struct standin_params){ .terminal_fd = -1 }, &pid, &fd);
	standin_show(fd, -1, &(struct standin_bind){ NULL, "/" }, 1);
	snprintf(path, sizeof path, "/proc/%d/root/tmp", (int)pid);
	for (int i = 0; i < 3000 && (r = stat(path, &st)) == 0; i++)
		usleep(10000);
	assert_int_equal(r, -1);
	/* It is at work on it still: the last thing is that nothing can be written. */
	snprintf(path, sizeof path, "/proc/%d/root", (int)pid);
	for (int i = 0; i < 3000 && (statvfs(path, &fs) < 0 || !(fs.f_flag & ST_RDONLY)); i++)
		usleep(10000);
	assert_int_equal(try_write(pid, "new"), EROFS);
	snprintf(path, sizeof path, "/proc/%d/root/proc/1/comm", (int)pid);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(standin_end(fd, 4), 0);
	assert_int_equal(WEXITSTATUS(wait_for(pid)), 4);
	close(fd);
}

/* A folder becomes its root, with another one and a file mounted on it; a link there does not lead out of it. */
static void test_shown_the_container(void **state)
{
	char dir[] = "/tmp/standin-XXXXXX", root[64], volume[64], path[128];
	_cleanup_free_ char *text = NULL;
	struct standin_bind binds[] = { { root, "/", true }, { volume, "/v" },       { "/no/such/source", "/v" },
					{ volume, "/link" }, { volume, "/r", true }, { NULL, "/empty" } };
	struct stat st;
	int fd, r = -1;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	snprintf(root, sizeof root, "%s/root", dir);
	snprintf(volume, sizeof volume, "%s/volume", dir);
	assert_int_equal(mkdir(root, 0755) | mkdir(volume, 0755), 0);
	snprintf(path, sizeof path, "%s/root/v", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof path, "%s/root/proc", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof path, "%s/root/r", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof path, "%s/root/empty", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof path, "%s/root/empty/old", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof path, "%s/root/link", dir);
	assert_int_equal(symlink("../../../etc", path), 0);
	snprintf(path, sizeof path, "%s/volume/file", dir);
	assert_int_equal(file_replace(path, "of the volume", 13, 0644), 0);

	start(&(struct standin_params){ .terminal_fd = -1 }, &pid, &fd);
	standin_show(fd, -1, &(struct standin_bind){ "/no/such/root", "/" }, 1);
	standin_show(fd, -1, binds, sizeof binds / sizeof *binds);
	snprintf(path, sizeof path, "/proc/%d/root/v/file", (int)pid);
	for (int i = 0; i < 3000 && (r = file_read(path, 64, &text, NULL)) < 0; i++)
		usleep(10000);
	assert_int_equal(r, 0);
	assert_string_equal(text, "of the volume");
	/* The last of them. */
	snprintf(path, sizeof path, "/proc/%d/root/empty/old", (int)pid);
	for (int i = 0; i < 3000 && (r = stat(path, &st)) == 0; i++)
		usleep(10000);
	assert_int_equal(r, -1);
	/* What is written must be where the guest sees it, or nowhere. */
	assert_int_equal(try_write(pid, "v/new"), 0);
	assert_int_equal(try_write(pid, "new"), EROFS);
	assert_int_equal(try_write(pid, "r/other"), EROFS);
	assert_int_equal(try_write(pid, "empty/new"), EROFS);
	/* It sees nothing but itself there, and leads nowhere else. */
	snprintf(path, sizeof path, "/proc/%d/root/proc/1/comm", (int)pid);
	assert_int_equal(stat(path, &st), 0);
	snprintf(path, sizeof path, "/proc/%d/root/etc", (int)pid);
	assert_int_equal(stat(path, &st), -1);
	/* It still does what it is for. */
	assert_int_equal(standin_end(fd, 4), 0);
	assert_int_equal(WEXITSTATUS(wait_for(pid)), 4);
	close(fd);
	assert_int_equal(dir_remove(dir), 0);
}

/* The root is a mount that its maker does not have: the folder where it would be is not what is shown. */
static void test_shown_a_mount(void **state)
{
	char dir[] = "/tmp/standin-XXXXXX", path[128];
	struct mount_options none = { 0 };
	struct stat st;
	int fd, root, r = -1;
	struct err e = { 0 };
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	start(&(struct standin_params){ .terminal_fd = -1 }, &pid, &fd);
	assert_int_equal(mount_detached("tmpfs", "tmpfs", &none, &root, &e), 0);
	assert_int_equal(mkdirat(root, "proc", 0755), 0);
	standin_show(fd, root, &(struct standin_bind){ dir, "/" }, 1);
	/* it leaves its old root, which is the host's */
	snprintf(path, sizeof path, "/proc/%d/root/usr", (int)pid);
	for (int i = 0; i < 3000 && (r = stat(path, &st)) == 0; i++)
		usleep(10000);
	assert_int_equal(r, -1);
	assert_int_equal(try_write(pid, "new"), 0);
	assert_int_equal(fstatat(root, "new", &st, 0), 0);
	standin_end(fd, 0);
	wait_for(pid);
	close(fd);
	close(root);
	assert_int_equal(dir_remove(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shown_the_container),
		cmocka_unit_test(test_shown_a_mount),
		cmocka_unit_test(test_shown_nothing),
		cmocka_unit_test(test_ends_with_the_status),
		cmocka_unit_test(test_shows_its_arguments),
		cmocka_unit_test(test_ends_with_its_owner),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_passes_signals_on),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_keeps_stdio),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_terminal),
		cmocka_unit_test(test_network),
		cmocka_unit_test(test_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

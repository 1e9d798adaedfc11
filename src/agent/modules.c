// SPDX-License-Identifier: Apache-2.0
#include "agent/modules.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/modprobe.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "sys/spawn.h"

static int load_file(const char *path, const char *parameters)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, parameters, 0) < 0 && errno != EEXIST && errno != ENODEV)
		return -errno;
	return 0;
}

int modules_load_list(const char *list)
{
	_cleanup_free_ char *text = NULL;
	char *next = NULL;
	int failed = 0;

	if (file_read(list, 65536, &text, NULL) < 0)
		return 0;
	for (char *line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		char *parameters = line + strcspn(line, " \t");
		int r;

		if (*line == '#' || *line == '\0')
			continue;
		if (*parameters)
			*parameters++ = '\0';
		r = load_file(line, parameters);
		if (r < 0) {
			log_warn("cannot load kernel module %s: %s", line, strerror(-r));
			failed++;
		}
	}
	return failed;
}

static bool is_loaded(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof path, "/sys/module/%s", name);
	for (char *p = path + strlen("/sys/module/"); *p; p++)
		if (*p == '-')
			*p = '_';
	return stat(path, &st) == 0;
}

static bool name_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > 64 || name[0] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '-')
			return false;
	return true;
}

static int run_modprobe(const char *program, const char *name, char *const *parameters, size_t n, struct err *e)
{
	_cleanup_strv_ struct strv argv = { 0 };
	struct spawn s = { .path = program, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .die_with_parent = true };
	_cleanup_close_ int pidfd = -1;
	pid_t pid;
	int r = strv_add(&argv, "modprobe");

	if (r == 0)
		r = strv_add(&argv, name);
	for (size_t i = 0; i < n && r == 0; i++)
		r = strv_add(&argv, parameters[i]);
	if (r < 0)
		return err_sys(e, ENOMEM, "cannot load kernel module %s", name);
	s.argv = argv.v;
	r = spawn_start(&s, &pid, &pidfd, e);
	if (r < 0)
		return r;
	for (int waited = 0; waited < 1000; waited++) {
		int status;
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return WIFEXITED(status) && WEXITSTATUS(status) == 0
				       ? 0
				       : err_set(e, ERR_GUEST, EIO, "modprobe could not load kernel module %s", name);
		if (got < 0)
			return is_loaded(name) ? 0 : err_sys(e, errno, "cannot load kernel module %s", name);
		usleep(10000);
	}
	spawn_stop(pid, pidfd, 0);
	return err_set(e, ERR_GUEST, ETIMEDOUT, "modprobe of kernel module %s took more than 10 s", name);
}

static const char *const programs[] = { "/sbin/modprobe", "/usr/sbin/modprobe" };

/* Is the image's modprobe this program? Then there is no need to start it. */
static bool is_modprobe(void)
{
	struct stat self, other;

	return stat(programs[0], &other) == 0 && stat("/proc/self/exe", &self) == 0 && file_is_same(&self, &other);
}

void module_load_for_device(const char *modalias)
{
	char *argv[] = { (char *)"modprobe", (char *)"-q", (char *)"-b", (char *)"--", (char *)modalias, NULL };
	struct spawn s = { .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 };
	struct err e = { 0 };
	pid_t pid;
	int r;

	if (is_modprobe()) {
		r = modprobe_load(modalias, "", true);
		if (r < 0 && r != -ENOENT && r != -ENODEV)
			log_warn("cannot load the driver of device %s: %s", modalias, strerror(-r));
		return;
	}
	for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
		if (access(programs[i], X_OK) == 0) {
			s.path = programs[i];
			if (spawn_start(&s, &pid, NULL, &e) < 0) /* reaped with the guest's orphans */
				log_warn("cannot load the driver of device %s: %s", modalias, e.text);
			return;
		}
}

/* /proc/filesystems: "nodev" or nothing, a tab, the name. */
static bool has_filesystem(const char *fstype)
{
	_cleanup_free_ char *text = NULL;
	size_t n = strlen(fstype);

	if (file_read("/proc/filesystems", 65536, &text, NULL) < 0)
		return true;
	for (const char *p = text; (p = strchr(p, '\t')); p++)
		if (!strncmp(p + 1, fstype, n) && p[1 + n] == '\n')
			return true;
	return false;
}

void module_load_for_filesystem(const char *fstype)
{
	char alias[64];

	if (snprintf(alias, sizeof alias, "fs-%s", fstype) < (int)sizeof alias && !has_filesystem(fstype) &&
	    is_modprobe())
		modprobe_load(alias, "", true);
}

void module_load_for_iptables(void)
{
	if (!is_modprobe())
		return;
	modprobe_load("ip_tables", "", true);
	modprobe_load("ip6_tables", "", true);
}

static int load_here(const char *name, char *const *parameters, size_t n, struct err *e)
{
	_cleanup_buf_ struct buf all = { 0 };
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = buf_printf(&all, "%s%s", i ? " " : "", parameters[i]);
	if (r == 0)
		r = modprobe_load(name, all.data ? all.data : "", true);
	return r < 0 ? err_sys(e, -r, "cannot load kernel module %s", name) : 0;
}

int module_load(const char *name, char *const *parameters, size_t n, struct err *e)
{

	if (!name_valid(name))
		return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.64s\" is not the name of a kernel module", name);
	for (size_t i = 0; i < n; i++)
		if (parameters[i][0] == '-')
			return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.64s\" is not a module parameter", parameters[i]);
	if (is_loaded(name))
		return 0;
	if (is_modprobe())
		return load_here(name, parameters, n, e);
	for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
		if (access(programs[i], X_OK) == 0)
			return run_modprobe(programs[i], name, parameters, n, e);
	return err_set(e, ERR_GUEST, ENOENT,
		       "kernel module %s is not loaded and this guest image has no modprobe; add it to " MODULES_LIST,
		       name);
}

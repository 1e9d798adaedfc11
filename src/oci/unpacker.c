/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program says on stderr may be the archive's words: it is bounded, and control characters are replaced
 * before it reaches a terminal.
 */
#include "oci/unpacker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/strv.h"
#include "sys/spawn.h"

#define OUTPUT_MAX   16384
#define WARNINGS_MAX 5

/* Beside us when installed in one folder, in libexec, or in the build tree. */
static int find_program(char *ret, size_t size)
{
	static const char *const places[] = { "caisson-unpack", "../libexec/caisson/caisson-unpack",
					      "../unpack/caisson-unpack", "unpack/caisson-unpack" };
	char self[4096], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n < 0)
		return -errno;
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		if ((size_t)snprintf(ret, size, "%s/%s", self, places[i]) < size && access(ret, X_OK) == 0)
			return 0;
	return -ENOENT;
}

/* Read to the end; what is beyond OUTPUT_MAX is dropped. */
static int collect(int fd, struct buf *out)
{
	char chunk[4096];

	for (;;) {
		ssize_t n = read(fd, chunk, sizeof chunk);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t i = 0; i < n; i++)
			if (((unsigned char)chunk[i] < ' ' && chunk[i] != '\n') || chunk[i] == 0x7f)
				chunk[i] = '?';
		if (out->len < OUTPUT_MAX && buf_append(out, chunk, (size_t)n) < 0)
			return -ENOMEM;
	}
}

/* Log the warnings; the error line becomes *e. */
static int judge(struct buf *out, int status, struct err *e)
{
	char *rest = out->data, *line;
	const char *message = NULL;
	int warnings = 0;

	while (rest && (line = strsep(&rest, "\n"))) {
		const char *text = str_after(line, "warning: ");

		if (text && warnings++ < WARNINGS_MAX)
			log_warn("unpacking: %s", text);
		text = str_after(line, "error: ");
		if (text)
			message = text;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (message)
		return err_set(e, ERR_CONFIG, strstr(message, "No space left on device") ? ENOSPC : EINVAL, "%s",
			       message);
	if (WIFSIGNALED(status))
		return err_set(e, ERR_SYSTEM, EIO, "caisson-unpack was killed by signal %d (%s)", WTERMSIG(status),
			       strsignal(WTERMSIG(status)));
	return err_set(e, ERR_SYSTEM, EIO, "caisson-unpack failed with status %d: %.400s", WEXITSTATUS(status),
		       out->data ? out->data : "no message");
}

static int run(const struct unpacker *u, struct strv *argv, int input_fd, int target_fd, struct err *e)
{
	_cleanup_close_ int in = -1, out = -1;
	_cleanup_buf_ struct buf text = { 0 };
	const int keep[] = { input_fd, target_fd };
	char program[4200];
	struct spawn s = {
		.path = u->program,
		.argv = argv->v,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.keep_fds = keep,
		.n_keep_fds = 2,
		.die_with_parent = true,
	};
	int p[2], status, r;
	pid_t pid;

	if (!s.path) {
		if (find_program(program, sizeof program) < 0)
			return err_set(
				e, ERR_SYSTEM, ENOENT,
				"cannot find the program caisson-unpack beside this one; is the installation whole?");
		s.path = program;
	}
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe");
	in = p[0];
	out = p[1];
	s.stderr_fd = out;
	r = spawn_start(&s, &pid, NULL, e);
	if (r < 0) {
		err_wrap(e, "cannot start %s", s.path);
		return r;
	}
	fd_close(&out);
	r = collect(in, &text);
	/* If we cannot read, do not let it wait for us. */
	fd_close(&in);
	if (r < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "cannot wait for caisson-unpack");
	return judge(&text, status, e);
}

static int add_common(const struct unpacker *u, struct strv *argv, const char *mode, int input_fd, int target_fd)
{
	int r = strv_add(argv, "caisson-unpack");

	if (r == 0)
		r = strv_add(argv, mode);
	if (r == 0)
		r = strv_addf(argv, "--input=%d", input_fd);
	if (r == 0)
		r = strv_addf(argv, "--target=%d", target_fd);
	if (r == 0)
		r = strv_addf(argv, "--max-bytes=%llu", (unsigned long long)u->max_bytes);
	if (r == 0)
		r = strv_addf(argv, "--max-entries=%llu", (unsigned long long)u->max_entries);
	return r;
}

int unpacker_layer(const struct unpacker *u, int input_fd, int target_fd, const char *diff_id, struct err *e)
{
	_cleanup_strv_ struct strv argv = { 0 };

	if (add_common(u, &argv, "layer", input_fd, target_fd) < 0 || strv_addf(&argv, "--diff-id=%s", diff_id) < 0)
		return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	return run(u, &argv, input_fd, target_fd, e);
}

int unpacker_members(const struct unpacker *u, int input_fd, int target_fd, uint64_t max_file, struct err *e)
{
	_cleanup_strv_ struct strv argv = { 0 };

	if (add_common(u, &argv, "members", input_fd, target_fd) < 0 ||
	    strv_addf(&argv, "--max-file=%llu", (unsigned long long)max_file) < 0)
		return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	return run(u, &argv, input_fd, target_fd, e);
}

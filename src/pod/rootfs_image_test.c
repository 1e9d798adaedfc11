/* SPDX-License-Identifier: Apache-2.0 */
/* Packing a directory, by the real programs; skipped where they are not installed. */
#include "pod/rootfs_image.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "base/strv.h"

static char dir[] = "/tmp/caisson-rootfs-XXXXXX";
static unsigned fds_before;

static int set_up(void **state)
{
	_cleanup_free_ char *folder = str_printf("%s/etc", dir), *file = str_printf("%s/etc/name", dir);

	assert_int_equal(mkdir(folder, 0755), 0);
	assert_int_equal(file_replace(file, "packed\n", 7, 0640), 0);
	assert_int_equal(chmod(dir, 0711), 0);
	fds_before = count_entries("/proc/self/fd");
	return 0;
}

static int tear_down(void **state)
{
	_cleanup_free_ char *folder = str_printf("%s/etc", dir);

	assert_int_equal(count_entries("/proc/self/fd"), fds_before);
	return dir_remove(folder);
}

static int pack(enum rootfs_image_kind kind, const char **ret_fstype)
{
	struct err e = { 0 };
	char path[32];
	int fd = -1;

	if (!rootfs_image_can_pack(kind))
		skip();
	if (rootfs_image_pack(dir, kind, -1, &fd, &e) < 0)
		fail_msg("%s", e.text);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	assert_int_equal(rootfs_image_type(path, ret_fstype, &e), 0);
	return fd;
}

static void test_erofs(void **state)
{
	const char *fstype;
	int fd = pack(ROOTFS_IMAGE_EROFS, &fstype);

	assert_string_equal(fstype, "erofs");
	close(fd);
}

/* What debugfs (whose lines begin with what is asked for) says of the image. */
static char *ask(int fd, const char *request)
{
	_cleanup_free_ char *command = str_printf("debugfs -R '%s' /proc/%d/fd/%d 2>&1", request, (int)getpid(), fd);
	static char text[4096];
	FILE *p;
	size_t n;

	/* It may be where only root looks. */
	setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
	p = popen(command, "r");
	assert_non_null(p);
	n = fread(text, 1, sizeof text - 1, p);
	text[n] = 0;
	pclose(p);
	return text;
}

static void expect(int fd, const char *request, const char *text)
{
	const char *answer = ask(fd, request);

	if (!strstr(answer, text))
		fail_msg("%s: no \"%s\" in: %s", request, text, answer);
}

static void test_ext4(void **state)
{
	struct statvfs fs;
	const char *fstype;
	int fd = pack(ROOTFS_IMAGE_EXT4, &fstype);
	struct stat st;

	assert_string_equal(fstype, "ext4");
	expect(fd, "cat /etc/name", "packed\n");
	expect(fd, "stat /etc/name", "Mode:  0640");
	expect(fd, "stat /", "Mode:  0711");
	expect(fd, "stat /lost+found", "File not found");
	/* Much room, of which the host gives none yet. */
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(statvfs("/var/tmp", &fs), 0);
	assert_true(st.st_size > 0 && st.st_size <= (off_t)16 << 30);
	assert_true(st.st_blocks * 512 < 32 << 20);
	close(fd);
}

/* The linker puts this in place of the question (meson.build). */
static bool without_xattrs;
ssize_t __real_listxattr(const char *path, char *list, size_t size);
ssize_t __wrap_listxattr(const char *path, char *list, size_t size);
ssize_t __wrap_listxattr(const char *path, char *list, size_t size)
{
	errno = ENOTSUP;
	return without_xattrs ? -1 : __real_listxattr(path, list, size);
}

static bool image_contains(int fd, const char *text)
{
	char *data;
	size_t len;
	bool found;

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fd_read_all(fd, 1 << 24, &data, &len), 0);
	found = memmem(data, len, text, strlen(text));
	free(data);
	return found;
}

static void test_extended_attributes(void **state)
{
	_cleanup_free_ char *file = str_printf("%s/etc/name", dir);
	const char *fstype;

	if (setxattr(file, "user.tag", "tagged-so", 9, 0) < 0)
		skip(); /* /tmp has none */
	for (int without = 0; without < 2; without++) {
		int fd;

		without_xattrs = without;
		fd = pack(ROOTFS_IMAGE_EROFS, &fstype);
		assert_true(image_contains(fd, "packed\n"));
		assert_int_equal(image_contains(fd, "tagged-so"), !without);
		close(fd);
	}
	without_xattrs = false;
}

static void test_what_cannot_be_packed(void **state)
{
	struct err e = { 0 };
	int fd = -1, p[2];

	if (!rootfs_image_can_pack(ROOTFS_IMAGE_EXT4) || !rootfs_image_can_pack(ROOTFS_IMAGE_EROFS))
		skip();
	assert_int_equal(rootfs_image_pack("/nonexistent", ROOTFS_IMAGE_EXT4, -1, &fd, &e), -ENOENT);
	assert_string_equal(e.text, "/nonexistent: cannot read it: No such file or directory");
	e = (struct err){ 0 };
	assert_int_equal(rootfs_image_pack("/nonexistent", ROOTFS_IMAGE_EROFS, -1, &fd, &e), -EIO);
	assert_non_null(
		str_after(e.text, "/nonexistent: mkfs.erofs could not pack the root file system into /var/tmp: "));
	assert_non_null(strstr(e.text, "No such file or directory"));
	assert_null(strchr(e.text, '\n'));
	assert_int_equal(fd, -1);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	close(p[1]);
	for (int kind = ROOTFS_IMAGE_EROFS; kind <= ROOTFS_IMAGE_EXT4; kind++)
		/* Either it was quicker than we. */
		if (rootfs_image_pack(dir, (enum rootfs_image_kind)kind, p[0], &fd, &e) == 0)
			fd_close(&fd);
		else
			assert_int_equal(e.code, ECANCELED);
	close(p[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(test_erofs),
		T(test_ext4),
		T(test_extended_attributes),
		T(test_what_cannot_be_packed),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dir_remove(dir);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images from the reference to the root file system, through the real caisson-unpack (UNPACK names it). The images are
 * made by tests/oci/images.sh. Needs root, or user namespaces; some checks only as root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <sched.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "oci/image.h"

static char dir[] = "/tmp/image_test.XXXXXX";
static char store[64];

static int setup(void **state)
{
	_cleanup_free_ char *command = NULL;
	const char *other = str_eq(oci_host_architecture(), "amd64") ? "arm64" : "amd64";

	if (!mkdtemp(dir))
		return -1;
	snprintf(store, sizeof store, "%s/store", dir);
	command = str_printf("%s/tests/oci/images.sh %s %s %s", getenv("SOURCE_ROOT"), dir, oci_host_architecture(),
			     other);
	return command ? system(command) : -1;
}

static int teardown(void **state)
{
	return dir_remove(dir);
}

static int try(const char *kind, const char *name, struct oci_image **ret, struct err *e)
{
	const struct oci_image_options o = { .store = store, .unpack = getenv("UNPACK"), .max_bytes = 2 << 20 };
	_cleanup_free_ char *reference = str_printf("%s:%s/%s", kind, dir, name);

	return oci_image_open(reference, &o, ret, e);
}

static struct oci_image *get(const char *kind, const char *name)
{
	struct oci_image *image = NULL;
	struct err e = { 0 };

	if (try(kind, name, &image, &e) < 0)
		fail_msg("%s: %s", name, e.text);
	return image;
}

static bool exists(const char *name)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name);

	return access(path, F_OK) == 0;
}

static void path_of(const struct oci_image *image, const char *name, char *ret)
{
	snprintf(ret, 512, "%s/%s", image->rootfs, name);
}

static bool there(const struct oci_image *image, const char *name)
{
	struct stat st;
	char path[512];

	path_of(image, name, path);
	return lstat(path, &st) == 0;
}

static void has_text(const struct oci_image *image, const char *name, const char *text)
{
	_cleanup_free_ char *data = NULL;
	char path[512];

	path_of(image, name, path);
	assert_int_equal(file_read(path, 4096, &data, NULL), 0);
	assert_string_equal(data, text);
}

/* Number of entries in the store, the lock file not counted. */
static int store_count(bool only_tmp)
{
	_cleanup_closedir_ DIR *d = opendir(store);
	const struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d)))
		if (only_tmp ? !strncmp(e->d_name, "tmp-", 4) : e->d_name[0] != '.' && !str_eq(e->d_name, "lock"))
			n++;
	return n;
}

/* The open fails, says so, and leaves the store as it was. */
static void refuse(const char *kind, const char *name, const char *text)
{
	struct oci_image *image = NULL;
	struct err e = { 0 };
	int before = store_count(false);

	if (try(kind, name, &image, &e) >= 0)
		fail_msg("%s was taken", name);
	assert_null(image);
	if (!strstr(e.text, text))
		fail_msg("%s: \"%s\" lacks \"%s\"", name, e.text, text);
	assert_int_equal(store_count(false), before);
	assert_int_equal(store_count(true), 0);
}

static void test_layers(void **state)
{
	_cleanup_image_ struct oci_image *image = get("oci", "good:one"), *again = NULL;
	_cleanup_strv_ struct strv command = { 0 };
	struct stat st, hard;
	char path[512];

	has_text(image, "file", "one\n");
	path_of(image, "file", path);
	assert_int_equal(stat(path, &st), 0);
	path_of(image, "hard", path);
	assert_int_equal(stat(path, &hard), 0);
	assert_int_equal(st.st_ino, hard.st_ino);
	assert_int_equal(st.st_mtime, 1000000000);
	if (geteuid() == 0) {
		assert_int_equal(st.st_uid, 7);
		assert_int_equal(st.st_gid, 8);
	}
	path_of(image, "bin", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 04751);

	/* whiteouts */
	assert_false(there(image, "gone"));
	assert_false(there(image, "gone-file"));
	assert_false(there(image, ".wh.gone"));
	assert_false(there(image, "opaque/.wh..wh..opq"));
	assert_false(there(image, "opaque/old"));
	assert_false(there(image, "opaque/sub/old"));
	has_text(image, "opaque/new", "new\n");
	has_text(image, "opaque/sub/new", "new\n");
	/* replaced by another kind */
	has_text(image, "becomes-file", "y\n");
	has_text(image, "becomes-dir/y", "y\n");
	/* through links of an earlier layer, which end inside the root */
	has_text(image, "usr/lib/so", "lib\n");
	has_text(image, "etc/new", "abs\n");
	assert_int_not_equal(access("/etc/new", F_OK), 0);
	path_of(image, "lib", path);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));

	/* the config */
	assert_string_equal(image->user, "web:adm");
	assert_string_equal(image->workdir, "/srv");
	assert_string_equal(image->stop_signal, "SIGQUIT");
	assert_string_equal(image->env.v[1], "LANG=C");
	assert_string_equal(image->exposed_ports.v[0], "80/tcp");
	assert_string_equal(image->volumes.v[0], "/data");
	assert_string_equal(image->labels.v[0], "a=b");
	assert_int_equal(oci_image_command(image, NULL, NULL, &command), 0);
	assert_int_equal(command.len, 3);
	assert_string_equal(command.v[2], "id");

	/* The second time it is not unpacked again. */
	path_of(image, "file", path);
	assert_int_equal(stat(path, &st), 0);
	again = get("oci", "good");
	assert_string_equal(again->rootfs, image->rootfs);
	assert_int_equal(stat(path, &hard), 0);
	assert_int_equal(st.st_ino, hard.st_ino);
	assert_int_equal(store_count(true), 0);
}

/* Neither the file nor the link on the way is lost. */
static void test_hard_link_through_a_link(void **state)
{
	_cleanup_image_ struct oci_image *image = get("oci", "hard");
	struct stat st;
	char path[512];

	has_text(image, "usr/lib/so.1", "lib\n");
	path_of(image, "usr/lib/so", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_nlink, 2);
	path_of(image, "lib", path);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void test_forms(void **state)
{
	_cleanup_image_ struct oci_image *plain = get("oci", "plain"), *multi = get("oci", "multi"),
					 *docker = get("docker-archive", "docker.tar:localhost/bb:1"),
					 *gz = get("docker-archive", "docker.tar.gz"),
					 *layout = get("docker-archive", "layout.tar:one"), *good = get("oci", "good");

	has_text(plain, "gone-file", "x\n");
	assert_string_equal(multi->digest, plain->digest);
	assert_false(there(docker, "gone-file"));
	has_text(docker, "becomes-file", "y\n");
	assert_string_equal(gz->digest, docker->digest);
	assert_string_equal(layout->digest, good->digest);
	if (exists("zstd")) {
		_cleanup_image_ struct oci_image *zstd = get("oci", "zstd");

		assert_string_equal(zstd->digest, plain->digest);
	}
	if (exists("skopeo.tar")) {
		_cleanup_image_ struct oci_image *image = get("docker-archive", "skopeo.tar");

		has_text(image, "opaque/new", "new\n");
	}
	if (exists("skopeo")) {
		_cleanup_image_ struct oci_image *image = get("oci", "skopeo:two");

		has_text(image, "opaque/new", "new\n");
	}
	if (exists("umoci")) {
		_cleanup_image_ struct oci_image *image = get("oci", "umoci:x");

		has_text(image, "hi", "hi\n");
		assert_string_equal(image->cmd.v[0], "/bin/true");
	}
	assert_int_equal(store_count(true), 0);
}

static void test_fresh_docker_archive(void **state)
{
	assert_int_equal(dir_remove(store), 0);
	test_forms(state);
}

static void test_refused(void **state)
{
	/* What is in the store already is taken without a look at the layers. */
	assert_int_equal(dir_remove(store), 0);
	refuse("oci", "nowhere", "there is no such directory");
	refuse("docker-archive", "nowhere", "there is no such file");
	refuse("oci", "good:two", "no image with the tag \"two\"; there are: one");
	refuse("oci", "foreign",
	       str_eq(oci_host_architecture(), "amd64") ? "the image is for arm64, this host runs amd64"
							: "the image is for amd64, this host runs arm64");
	refuse("oci", "a", "index.json: No such file");
	refuse("oci", "digest", "is corrupt: its digest is sha256:");
	refuse("oci", "missing", "is missing");
	refuse("oci", "truncated", "layer 1 of 1: cannot decompress: truncated gzip input");
	refuse("oci", "lying", "but the image's config says sha256:00000000");
	refuse("oci", "bomb", "unpacks to more than 2097152 bytes");
	refuse("docker-archive", "junk.tar", "Unrecognized archive format");
	refuse("docker-archive", "nomanifest.tar", "this is not a docker archive");
	refuse("docker-archive", "short.tar", "short.tar: ");
	refuse("docker-archive", "docker.tar:x:1", "no image with the tag \"x:1\"");
	refuse("docker-archive", "good", "is not a file");
}

static void test_hostile(void **state)
{
	refuse("oci", "dots", "entry \"../../evil-out\" leads out of the image");
	refuse("oci", "nothing", "is a whiteout of nothing");
	/* The link points to this test's folder on the host; in the chroot there is none, so nothing can be written. */
	refuse("oci", "through", "layer 2 of 2: cannot write \"out/through\"");
	assert_false(exists("through/through"));
	assert_false(exists("evil-out"));
	{
		_cleanup_image_ struct oci_image *image = get("oci", "absolute");

		has_text(image, "absolute-evil", "evil\n");
		assert_int_not_equal(access("/absolute-evil", F_OK), 0);
	}
}

/* The image's own attributes are kept; those that speak to the host's overlayfs are not. */
static void test_attributes(void **state)
{
	_cleanup_image_ struct oci_image *image = get("oci", "attributes");
	char path[512], value[8];

	path_of(image, "evil", path);
	if (setxattr(path, "user.probe", "", 0, 0) < 0)
		skip();
	assert_int_equal(getxattr(path, "user.k", value, sizeof value), 1);
	assert_int_equal(value[0], 'v');
	assert_int_equal(getxattr(path, "trusted.overlay.opaque", value, sizeof value), -1);
}

/* What a killed process left is removed by the next; what a living one holds is not. */
/* Names are bytes; folders that no layer names are as docker and containerd make them. */
static void test_names(void **state)
{
	static const char *const names[] = { "e\314\201", "\303\251", "x\377" };
	_cleanup_image_ struct oci_image *image = get("oci", "names");
	struct stat st, like;
	char path[512], target[16] = "";

	path_of(image, "no/parent", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		_cleanup_free_ char *name = str_printf("no/parent/%s", names[i]), *text = str_printf("%s\n", names[i]);

		has_text(image, name, text);
		path_of(image, name, path);
		assert_int_equal(stat(path, &st), 0);
		snprintf(path, sizeof path, "%s/no/parent/like-%s", image->rootfs, names[i]);
		assert_int_equal(stat(path, &like), 0);
		assert_int_equal(like.st_ino, st.st_ino);
		snprintf(path, sizeof path, "%s/no/parent/to-%s", image->rootfs, names[i]);
		assert_int_equal(readlink(path, target, sizeof target), strlen(names[i]));
		assert_memory_equal(target, names[i], strlen(names[i]));
	}
}

static void test_leftovers(void **state)
{
	_cleanup_free_ char *stale = str_printf("%s/tmp-stale/rootfs", store);
	_cleanup_image_ struct oci_image *image = NULL;
	int held;

	assert_int_equal(dir_make(stale, 0700), 0);
	image = get("oci", "plain");
	assert_int_equal(store_count(true), 0);
	assert_int_equal(dir_make(stale, 0700), 0);
	*strrchr(stale, '/') = '\0';
	held = open(stale, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(held, LOCK_EX), 0);
	assert_int_equal(oci_image_clean_store(store, NULL), 0);
	assert_int_equal(store_count(true), 1);
	close(held);
	assert_int_equal(oci_image_clean_store(store, NULL), 0);
	assert_int_equal(store_count(true), 0);
}

static int open_on_full_disk(void)
{
	struct oci_image *image = NULL;
	struct err e = { 0 };
	int n;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mkdir(store, 0700) < 0 || mount("tmpfs", store, "tmpfs", 0, "size=16k,nr_inodes=1000") < 0)
		return 77;
	n = try("oci", "good", &image, &e);
	if (n >= 0 || !strstr(e.text, "No space left on device") || store_count(false) != 0) {
		fprintf(stderr, "full disk: %d %s, %d left\n", n, e.text, store_count(false));
		return 1;
	}
	return 0;
}

static void test_full_disk(void **state)
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_int_equal(dir_remove(store), 0);
	pid = fork();
	if (pid == 0)
		_exit(open_on_full_disk());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	dir_remove(store);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

/* Several processes at once: one unpacks, all get the same. */
static void test_concurrent(void **state)
{
	int failed = 0;

	assert_int_equal(dir_remove(store), 0);
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			struct oci_image *image = NULL;
			struct err e = { 0 };
			int r = try(i % 2 ? "oci" : "docker-archive", i % 2 ? "good" : "layout.tar", &image, &e);

			if (r < 0)
				fprintf(stderr, "%s\n", e.text);
			oci_image_free(image);
			_exit(r < 0);
		}
	for (int i = 0; i < 4; i++) {
		int status = -1;

		wait(&status);
		failed += status != 0;
	}
	assert_int_equal(failed, 0);
	assert_int_equal(store_count(false), 1);
}

/* The program that reads the archive can do little else: look at it while it waits for its input. */
static void test_sandbox(void **state)
{
	_cleanup_free_ char *target = str_printf("%s/target", dir), *file = NULL, *status = NULL;
	int p[2], ready = 0;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	assert_int_equal(dir_make(target, 0700), 0);
	pid = fork();
	if (pid == 0) {
		int fd = open(target, O_RDONLY | O_DIRECTORY);
		char in[16], to[16];

		close(p[1]);
		snprintf(in, sizeof in, "%d", p[0]);
		snprintf(to, sizeof to, "%d", fd);
		execl(getenv("UNPACK"), "caisson-unpack", "layer", "--input", in, "--target", to, "--max-bytes", "1000",
		      "--max-entries", "10", (char *)NULL);
		_exit(127);
	}
	close(p[0]);
	file = str_printf("/proc/%d/status", (int)pid);
	for (int i = 0; i < 500 && !ready; i++) {
		usleep(10000);
		free(status);
		status = NULL;
		assert_int_equal(file_read(file, 65536, &status, NULL), 0);
		/* CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP at most */
		ready = strstr(status, "NoNewPrivs:\t1") && strstr(status, "CapEff:\t000000008800001b");
	}
	assert_true(ready);
	{
		_cleanup_free_ char *root = str_printf("/proc/%d/root", (int)pid);
		char seen[256];
		ssize_t n = readlink(root, seen, sizeof seen - 1);

		assert_true(n > 0);
		seen[n] = '\0';
		assert_string_equal(seen, target);
	}
	close(p[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layers),     cmocka_unit_test(test_hard_link_through_a_link),
		cmocka_unit_test(test_forms),      cmocka_unit_test(test_fresh_docker_archive),
		cmocka_unit_test(test_refused),    cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_attributes), cmocka_unit_test(test_names),
		cmocka_unit_test(test_leftovers),  cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_concurrent), cmocka_unit_test(test_sandbox),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fd.h"
#include "oci/builder.h"
#include "oci/user.h"

#define LIST(...)                                                                                                      \
	(&(const struct strv){ (char *[]){ __VA_ARGS__, NULL }, sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *) })
#define C(s) (char *)(uintptr_t)(s)

static Grpc__Spec *build(const struct oci_run_options *o, struct strv *w)
{
	Grpc__Spec *spec = NULL;
	struct err e = { 0 };

	if (oci_spec_build(o, &spec, w, &e) < 0)
		fail_msg("%s", e.text);
	return spec;
}

static void refuse(const struct oci_run_options *o, const char *text)
{
	Grpc__Spec *spec = NULL;
	struct err e = { 0 };

	assert_true(oci_spec_build(o, &spec, NULL, &e) < 0);
	assert_null(spec);
	if (!strstr(e.text, text))
		fail_msg("\"%s\" lacks \"%s\"", e.text, text);
}

static bool holds(char **list, size_t n, const char *s)
{
	struct strv v = { list, n };

	return strv_contains(&v, s);
}

static const Grpc__Mount *mount_at(const Grpc__Spec *s, const char *path)
{
	for (size_t i = 0; i < s->n_mounts; i++)
		if (str_eq(s->mounts[i]->destination, path))
			return s->mounts[i];
	return NULL;
}

static void test_defaults(void **state)
{
	struct oci_run_options o = { .args = LIST(C("/bin/true")), .rootfs_fd = -1 };
	_cleanup_spec_ Grpc__Spec *s = build(&o, NULL);

	assert_string_equal(s->process->args[0], "/bin/true");
	assert_string_equal(s->process->cwd, "/");
	/* HOME is the agent's to say. */
	assert_int_equal(s->process->n_env, 1);
	assert_string_equal(s->process->env[0], "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	assert_int_equal(s->process->capabilities->n_bounding, 14);
	assert_int_equal(s->process->capabilities->n_ambient, 0);
	assert_int_equal(s->n_mounts, 7);
	assert_string_equal(mount_at(s, "/dev/shm")->options[4], "size=65536k");
	assert_true(holds(mount_at(s, "/sys/fs/cgroup")->options, mount_at(s, "/sys/fs/cgroup")->n_options, "ro"));
	assert_int_equal(s->linux->n_namespaces, 5);
	assert_null(s->linux->seccomp);
	assert_int_equal(s->linux->n_maskedpaths, 10);
	assert_null(s->linux->resources->memory);
	assert_string_equal(s->root->path, "rootfs");
	assert_false(s->root->readonly);
}

static void test_flags(void **state)
{
	_cleanup_strv_ struct strv w = { 0 };
	struct oci_run_options o = {
		.args = LIST(C("sh"), C("-c"), C("id")),
		.env = LIST(C("PATH=/bin"), C("A=b=c")),
		.cwd = "/tmp",
		.user = "1000:100",
		.rootfs_fd = -1,
		.tty = true,
		.read_only = true,
		.hostname = "box",
		.cap_add = LIST(C("net_admin")),
		.cap_drop = LIST(C("CAP_MKNOD")),
		.security_opts = LIST(C("no-new-privileges"), C("apparmor=unconfined")),
		.ulimits = LIST(C("nofile=1024:2048"), C("core=-1"), C("nproc=7:unlimited")),
		.tmpfs = LIST(C("/run:size=1m,exec"), C("/tmp")),
		.memory = 64 << 20,
		.cpus = 1.5,
		.pids_limit = 9,
	};
	_cleanup_spec_ Grpc__Spec *s = build(&o, &w);
	const Grpc__Process *p = s->process;

	assert_true(holds(p->env, p->n_env, "PATH=/bin"));
	assert_true(holds(p->env, p->n_env, "A=b=c"));
	assert_true(holds(p->env, p->n_env, "TERM=xterm"));
	assert_true(holds(p->env, p->n_env, "HOSTNAME=box"));
	assert_int_equal(p->n_env, 4);
	assert_int_equal(p->user->uid, 1000);
	assert_int_equal(p->user->gid, 100);
	assert_true(p->terminal && p->nonewprivileges && s->root->readonly);
	assert_true(holds(p->capabilities->bounding, 14, "CAP_NET_ADMIN"));
	assert_false(holds(p->capabilities->bounding, 14, "CAP_MKNOD"));
	assert_int_equal(p->rlimits[0]->hard, 2048);
	assert_true(p->rlimits[1]->soft == UINT64_MAX && p->rlimits[1]->hard == UINT64_MAX);
	assert_true(p->rlimits[2]->soft == 7 && p->rlimits[2]->hard == UINT64_MAX);
	assert_int_equal(s->linux->resources->memory->limit, 64 << 20);
	assert_int_equal(s->linux->resources->cpu->quota, 150000);
	assert_int_equal(s->linux->resources->pids->limit, 9);
	assert_int_equal(mount_at(s, "/run")->n_options, 4);
	assert_false(holds(mount_at(s, "/run")->options, 4, "noexec"));
	assert_true(holds(mount_at(s, "/tmp")->options, 3, "noexec"));
	assert_int_equal(w.len, 1);
	assert_string_equal(w.v[0], "--security-opt apparmor has no effect in a virtual machine");
}

static void test_all_capabilities(void **state)
{
	struct oci_run_options o = {
		.args = LIST(C("x")), .rootfs_fd = -1, .cap_add = LIST(C("ALL")), .cap_drop = LIST(C("sys_admin"))
	};
	_cleanup_spec_ Grpc__Spec *all = build(&o, NULL), *none = NULL;

	assert_int_equal(all->process->capabilities->n_bounding, 40);
	o.cap_add = LIST(C("CHOWN"));
	o.cap_drop = LIST(C("all"));
	none = build(&o, NULL);
	assert_int_equal(none->process->capabilities->n_bounding, 1);
	assert_string_equal(none->process->capabilities->bounding[0], "CAP_CHOWN");
}

static void test_privileged(void **state)
{
	struct oci_run_options o = { .args = LIST(C("x")), .rootfs_fd = -1, .cap_drop = LIST(C("sys_admin")) };
	_cleanup_spec_ Grpc__Spec *s = build(&o, NULL), *all = NULL;

	assert_false(oci_spec_is_privileged(s));
	o.privileged = true;
	all = build(&o, NULL);
	assert_true(oci_spec_is_privileged(all));
	assert_int_equal(all->process->capabilities->n_bounding, 40);
	assert_int_equal(all->linux->n_maskedpaths + all->linux->n_readonlypaths, 0);
	assert_true(holds(mount_at(all, "/sys")->options, 4, "rw"));
	assert_true(holds(mount_at(all, "/sys/fs/cgroup")->options, 5, "rw"));
}

static void test_refused(void **state)
{
	struct oci_run_options o = { .rootfs_fd = -1 };

	refuse(&o, "no command");
	o.args = LIST(C("x"));
	o.cwd = "tmp";
	refuse(&o, "process.cwd: \"tmp\" is not an absolute path");
	o.cwd = NULL;
	o.cap_add = LIST(C("FLY"));
	refuse(&o, "\"FLY\" is not known");
	o.cap_add = NULL;
	o.ulimits = LIST(C("nofile"));
	refuse(&o, "expected NAME=SOFT[:HARD]");
	o.ulimits = LIST(C("nofile=9:1"));
	refuse(&o, "soft limit 9 is above");
	o.ulimits = LIST(C("files=9"));
	refuse(&o, "RLIMIT_FILES");
	o.ulimits = NULL;
	o.env = LIST(C("novalue"));
	refuse(&o, "expected NAME=value");
	o.env = NULL;
	o.security_opts = LIST(C("magic"));
	refuse(&o, "\"magic\" is not known");
	o.security_opts = LIST(C("seccomp=/nonexistent"));
	refuse(&o, "cannot read the seccomp profile /nonexistent");
	o.security_opts = NULL;
	o.tmpfs = LIST(C("run"));
	refuse(&o, "expected an absolute path");
	o.tmpfs = NULL;
	o.cpus = -1;
	refuse(&o, "--cpus");
	o.cpus = 0;
	o.user = "nobody";
	refuse(&o, "give a number");
	o.user = NULL;
	o.hostname = "0123456789012345678901234567890123456789012345678901234567890123456789";
	refuse(&o, "hostname");
}

static void write_at(const char *dir, const char *name, const char *text)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name);

	assert_int_equal(file_replace(path, text, strlen(text), 0644), 0);
}

static void test_users(void **state)
{
	char dir[] = "/tmp/builder_test.XXXXXX";
	_cleanup_free_ char *etc = NULL, *link = NULL;
	struct oci_user u;
	struct err e = { 0 };
	int fd;

	assert_non_null(mkdtemp(dir));
	etc = str_printf("%s/etc", dir);
	assert_int_equal(mkdir(etc, 0755), 0);
	write_at(etc, "real",
		 "root:x:0:0:root:/r:/bin/sh\n:::\nbad\nbig:x:4294967295:1::/:\nweb:x:33:34:w:/srv:/bin/sh\n");
	write_at(etc, "group", "web:x:34:\nadm:x:4:a,web,b\nx:x:notanumber:web\nwheel:x:10:web\nempty\n");
	/* An absolute link stays inside the root. */
	link = str_printf("%s/passwd", etc);
	assert_int_equal(symlink("/../../etc/real", link), 0);
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);

	assert_int_equal(oci_user_resolve(NULL, fd, &u, &e), 0);
	assert_true(u.uid == 0 && u.gid == 0);
	assert_int_equal(oci_user_resolve("web", fd, &u, &e), 0);
	assert_true(u.uid == 33 && u.gid == 34 && u.n_groups == 2 && u.groups[0] == 4 && u.groups[1] == 10);
	assert_int_equal(oci_user_resolve("33", fd, &u, &e), 0);
	assert_true(u.uid == 33 && u.gid == 34 && u.n_groups == 2);
	assert_int_equal(oci_user_resolve("web:adm", fd, &u, &e), 0);
	assert_true(u.uid == 33 && u.gid == 4 && u.n_groups == 0);
	assert_int_equal(oci_user_resolve("77", fd, &u, &e), 0);
	assert_true(u.uid == 77 && u.gid == 0 && u.n_groups == 0);
	assert_int_equal(oci_user_resolve("big", fd, &u, &e), -EINVAL);
	assert_string_equal(e.text, "user \"big\": /etc/passwd of the root file system has no such name");
	assert_int_equal(oci_user_resolve("4294967295", fd, &u, &e), -EINVAL);
	assert_int_equal(oci_user_resolve("0:nogroup", fd, &u, &e), -EINVAL);

	/* A FIFO in its place neither hangs nor is read. */
	assert_int_equal(unlink(link), 0);
	assert_int_equal(mkfifo(link, 0644), 0);
	assert_int_equal(oci_user_resolve("web", fd, &u, &e), -EINVAL);
	close(fd);
	assert_int_equal(dir_remove(dir), 0);
}

static void test_seccomp_profile(void **state)
{
	static const char profile[] =
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":1,\"archMap\":["
		"{\"architecture\":\"SCMP_ARCH_X86_64\",\"subArchitectures\":[\"SCMP_ARCH_X86\"]},"
		"{\"architecture\":\"SCMP_ARCH_AARCH64\",\"subArchitectures\":[\"SCMP_ARCH_ARM\"]}],\"syscalls\":["
		"{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\",\"comment\":\"\",\"includes\":{},\"excludes\":{}},"
		"{\"name\":\"write\",\"action\":\"SCMP_ACT_ALLOW\",\"args\":null},"
		"{\"names\":[\"ptrace\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"minKernel\":\"4.8\"}},"
		"{\"names\":[\"mount\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}},"
		"{\"names\":[\"chroot\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_SYS_CHROOT\"]}},"
		"{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"excludes\":{\"caps\":[\"CAP_KILL\"]}},"
		"{\"names\":[\"s390\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"arches\":[\"s390x\"]}}]}";
	char path[] = "/tmp/builder_test.XXXXXX";
	_cleanup_close_ int fd = mkstemp(path);
	_cleanup_free_ char *opt = str_printf("seccomp=%s", path);
	struct oci_run_options o = { .args = LIST(C("x")), .rootfs_fd = -1, .security_opts = LIST(opt) };
	_cleanup_spec_ Grpc__Spec *s = NULL;
	const Grpc__LinuxSeccomp *f;

	assert_int_equal(fd_write_full(fd, profile, sizeof profile - 1), 0);
	s = build(&o, NULL);
	f = s->linux->seccomp;
	assert_int_equal(f->n_architectures, 2);
	assert_int_equal(f->n_syscalls, 4);
	assert_string_equal(f->syscalls[1]->names[0], "write");
	assert_string_equal(f->syscalls[2]->names[0], "ptrace");
	assert_string_equal(f->syscalls[3]->names[0], "chroot");
	assert_int_equal(ftruncate(fd, 0), 0);
	refuse(&o, "empty");
	unlink(path);
}

static void test_additions(void **state)
{
	struct oci_run_options o = { .args = LIST(C("x")), .rootfs_fd = -1 };
	_cleanup_spec_ Grpc__Spec *s = build(&o, NULL);

	assert_int_equal(oci_spec_add_mount(s, "/dev/shm", "/host", NULL, "rbind,ro"), 0);
	assert_int_equal(s->n_mounts, 7);
	assert_string_equal(s->mounts[6]->destination, "/dev/shm");
	assert_string_equal(s->mounts[6]->type, "bind");
	assert_string_equal(s->mounts[6]->options[1], "ro");
	assert_int_equal(oci_spec_add_mount(s, "relative", "/host", NULL, NULL), -EINVAL);
	/* Nothing is hidden by what comes later: what is mounted below it is mounted after it. */
	assert_int_equal(oci_spec_add_mount(s, "/data/sub", "/host", NULL, NULL), 0);
	assert_int_equal(oci_spec_add_mount(s, "/database", "/host", NULL, NULL), 0);
	assert_int_equal(oci_spec_add_mount(s, "/data/", "/host", NULL, NULL), 0);
	assert_int_equal(s->n_mounts, 10);
	assert_string_equal(s->mounts[7]->destination, "/data/");
	assert_string_equal(s->mounts[8]->destination, "/data/sub");
	assert_string_equal(s->mounts[9]->destination, "/database");
	assert_int_equal(oci_spec_add_mount(s, "/dev", "/host", NULL, NULL), 0);
	assert_string_equal(s->mounts[1]->destination, "/dev");
	assert_string_equal(s->mounts[1]->source, "/host");
	assert_null(oci_spec_annotation(s, "a"));
	assert_int_equal(oci_spec_set_annotation(s, "a", "1"), 0);
	assert_int_equal(oci_spec_set_annotation(s, "a", "2"), 0);
	assert_string_equal(oci_spec_annotation(s, "a"), "2");
	assert_int_equal(s->n_annotations, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),         cmocka_unit_test(test_flags),
		cmocka_unit_test(test_all_capabilities), cmocka_unit_test(test_privileged),
		cmocka_unit_test(test_refused),          cmocka_unit_test(test_users),
		cmocka_unit_test(test_seccomp_profile),  cmocka_unit_test(test_additions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

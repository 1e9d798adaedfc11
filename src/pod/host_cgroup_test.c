/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod's group: in directories that look like hierarchies, where every value can be seen; in this machine's own
 * hierarchies, below a group made for the test; and in a cgroup2 file system mounted in a namespace of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "pod/host_cgroup_internal.h"
#include "sys/cgroup_layout.h"

static char root[] = "/tmp/caisson-hostcg-XXXXXX";

static int make_root(void **state)
{
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	return dir_remove(root);
}

/* ---- directories that look like hierarchies ---- */

static void put(const char *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(const char *text, const char *fmt, ...)
{
	char path[512];
	int n = snprintf(path, sizeof(path), "%s", root);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path + n, sizeof(path) - (size_t)n, fmt, ap);
	va_end(ap);
	*strrchr(path, '/') = '\0';
	assert_int_equal(dir_make(path, 0755), 0);
	path[strlen(path)] = '/';
	assert_int_equal(file_replace(path, text, strlen(text), 0644), 0);
}

static void assert_file(const char *path, const char *want)
{
	_cleanup_free_ char *full = str_printf("%s%s", root, path), *text = NULL;

	assert_int_equal(file_read(full, 4096, &text, NULL), 0);
	assert_string_equal(text, want);
}

#define G "/kubepods/pod1/c1"

/* The files of the group are there before it is made: only a kernel makes them by itself. */
static void host_v1(void)
{
	static const char *const files[] = { "memory/" G "/memory.limit_in_bytes",
					     "memory/" G "/memory.memsw.limit_in_bytes",
					     "memory/" G "/memory.soft_limit_in_bytes",
					     "memory/" G "/memory.usage_in_bytes",
					     "memory/" G "/memory.max_usage_in_bytes",
					     "cpu,cpuacct" G "/cpu.shares",
					     "cpu,cpuacct" G "/cpu.cfs_quota_us",
					     "cpu,cpuacct" G "/cpu.cfs_period_us",
					     "cpu,cpuacct" G "/cpuacct.usage",
					     "cpu,cpuacct" G "/cpuacct.usage_user",
					     "cpu,cpuacct" G "/cpuacct.usage_sys",
					     "cpuset" G "/cpuset.cpus",
					     "cpuset" G "/cpuset.mems",
					     "pids" G "/pids.max",
					     "pids" G "/pids.current",
					     "blkio" G "/blkio.throttle.read_bps_device",
					     NULL };
	static const char *const mounts[] = { "cpu,cpuacct", "memory", "cpuset", "pids", "blkio", "systemd", NULL };

	dir_remove(root);
	for (const char *const *m = mounts; *m; m++) {
		put("", "/sys/fs/cgroup/%s/cgroup.procs", *m);
		put("", "/sys/fs/cgroup/%s" G "/cgroup.procs", *m);
	}
	for (const char *const *f = files; *f; f++)
		put("0\n", "/sys/fs/cgroup/%s", *f);
	put("32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	    "33 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	    "34 31 0:32 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
	    "35 31 0:32 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
	    "36 31 0:32 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n"
	    "37 31 0:34 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n",
	    "/proc/self/mountinfo");
	put("6:name=systemd:/\n5:blkio:/\n4:pids:/\n3:cpuset:/\n2:memory:/\n1:cpu,cpuacct:/own\n", "/proc/self/cgroup");
}

static void host_v2(const char *controllers)
{
	static const char *const files[] = { "memory.max", "memory.swap.max", "memory.low",   "cpu.weight",
					     "cpu.max",    "cpuset.cpus",     "cpuset.mems",  "pids.max",
					     "io.max",     "io.weight",       "cgroup.procs", NULL };

	dir_remove(root);
	put("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "/proc/self/mountinfo");
	put("0::/\n", "/proc/self/cgroup");
	put("", "/sys/fs/cgroup/cgroup.procs");
	put(controllers, "/sys/fs/cgroup/cgroup.controllers");
	for (const char *const *f = files; *f; f++)
		put("", "/sys/fs/cgroup" G "/%s", *f);
}

static struct host_cgroup *new_group(const char *path)
{
	struct host_cgroup *cg;
	struct err e = { 0 };

	assert_int_equal(host_cgroup_new(root, path, "id", &cg, &e), 0);
	return cg;
}

struct limits {
	Grpc__LinuxMemory memory;
	Grpc__LinuxCPU cpu;
	Grpc__LinuxPids pids;
	Grpc__LinuxThrottleDevice disk, *disks[1];
	Grpc__LinuxBlockIO io;
	Grpc__LinuxResources all;
};

static void everything(struct limits *l)
{
	*l = (struct limits){ .memory = GRPC__LINUX_MEMORY__INIT,
			      .cpu = GRPC__LINUX_CPU__INIT,
			      .pids = GRPC__LINUX_PIDS__INIT,
			      .disk = GRPC__LINUX_THROTTLE_DEVICE__INIT,
			      .io = GRPC__LINUX_BLOCK_IO__INIT,
			      .all = GRPC__LINUX_RESOURCES__INIT };
	l->memory.limit = 100 << 20;
	l->memory.swap = 150 << 20;
	l->memory.reservation = 50 << 20;
	l->cpu.shares = 1024;
	l->cpu.quota = 50000;
	l->cpu.period = 100000;
	l->pids.limit = 7;
	l->disk.major = 8;
	l->disk.rate = 1000;
	l->disks[0] = &l->disk;
	l->io.throttlereadbpsdevice = l->disks;
	l->io.n_throttlereadbpsdevice = 1;
	l->all.memory = &l->memory;
	l->all.cpu = &l->cpu;
	l->all.pids = &l->pids;
	l->all.blockio = &l->io;
}

static void limits_v1(void **state)
{
	struct host_cgroup *cg;
	struct limits l;
	struct err e = { 0 };

	host_v1();
	everything(&l);
	cg = new_group(G);
	assert_int_equal(cg->n_groups, 6);
	assert_int_equal(host_cgroup_limit(cg, &l.all, 10, &e), 0);
	assert_file("/sys/fs/cgroup/memory" G "/memory.limit_in_bytes", "115343360");
	assert_file("/sys/fs/cgroup/memory" G "/memory.memsw.limit_in_bytes", "167772160");
	assert_file("/sys/fs/cgroup/memory" G "/memory.soft_limit_in_bytes", "62914560");
	assert_file("/sys/fs/cgroup/cpu,cpuacct" G "/cpu.shares", "1024");
	assert_file("/sys/fs/cgroup/cpu,cpuacct" G "/cpu.cfs_quota_us", "50000");
	assert_file("/sys/fs/cgroup/cpu,cpuacct" G "/cpu.cfs_period_us", "100000");
	assert_file("/sys/fs/cgroup/blkio" G "/blkio.throttle.read_bps_device", "8:0 1000");
	/* the guest's */
	assert_file("/sys/fs/cgroup/pids" G "/pids.max", "0\n");
	host_v1();
	l.memory.limit = l.memory.swap = l.memory.reservation = -1;
	l.cpu.quota = -1;
	host_cgroup_close(cg);
	cg = new_group(G);
	assert_int_equal(host_cgroup_limit(cg, &l.all, 10, &e), 0);
	assert_file("/sys/fs/cgroup/memory" G "/memory.limit_in_bytes", "-1");
	assert_file("/sys/fs/cgroup/memory" G "/memory.memsw.limit_in_bytes", "-1");
	assert_file("/sys/fs/cgroup/cpu,cpuacct" G "/cpu.cfs_quota_us", "-1");
	assert_int_equal(host_cgroup_limit(cg, NULL, 10, &e), 0);
	host_cgroup_close(cg);
}

static void usage_v1(void **state)
{
	struct host_cgroup_usage u;
	struct host_cgroup *cg;

	host_v1();
	put("1234\n", "/sys/fs/cgroup/memory" G "/memory.usage_in_bytes");
	put("5678\n", "/sys/fs/cgroup/memory" G "/memory.max_usage_in_bytes");
	put("9223372036854771712\n", "/sys/fs/cgroup/memory" G "/memory.limit_in_bytes");
	put("100\n", "/sys/fs/cgroup/cpu,cpuacct" G "/cpuacct.usage");
	put("70\n", "/sys/fs/cgroup/cpu,cpuacct" G "/cpuacct.usage_user");
	put("30\n", "/sys/fs/cgroup/cpu,cpuacct" G "/cpuacct.usage_sys");
	put("9\n", "/sys/fs/cgroup/pids" G "/pids.current");
	put("max\n", "/sys/fs/cgroup/pids" G "/pids.max");
	put("cache 7\nrss 6\ntotal_cache 17\ntotal_rss 16\ntotal_inactive_file 15\ntotal_pgfault 14\n",
	    "/sys/fs/cgroup/memory" G "/memory.stat");
	cg = new_group(G);
	assert_int_equal(host_cgroup_usage(cg, &u, NULL), 0);
	assert_int_equal(u.memory_bytes, 1234);
	assert_int_equal(u.memory_peak_bytes, 5678);
	assert_true(u.memory_limit_bytes == UINT64_MAX);
	assert_int_equal(u.cpu_ns, 100);
	assert_int_equal(u.user_ns, 70);
	assert_int_equal(u.system_ns, 30);
	assert_int_equal(u.pids, 9);
	assert_true(u.pids_limit == UINT64_MAX);
	assert_int_equal(u.file_bytes, 17);
	assert_int_equal(u.anon_bytes, 16);
	assert_int_equal(u.inactive_file_bytes, 15);
	assert_int_equal(u.page_faults, 14);
	assert_int_equal(u.major_page_faults, 0);
	host_cgroup_close(cg);
}

static void limits_v2(void **state)
{
	struct host_cgroup *cg;
	struct limits l;
	struct err e = { 0 };

	host_v2("cpuset cpu io memory pids\n");
	everything(&l);
	cg = new_group(G);
	assert_int_equal(host_cgroup_limit(cg, &l.all, 10, &e), 0);
	assert_file("/sys/fs/cgroup" G "/memory.max", "115343360");
	assert_file("/sys/fs/cgroup" G "/memory.swap.max", "52428800"); /* not raised: it is no part of the VMM */
	assert_file("/sys/fs/cgroup" G "/memory.low", "62914560");
	assert_file("/sys/fs/cgroup" G "/cpu.weight", "39");
	assert_file("/sys/fs/cgroup" G "/cpu.max", "50000 100000");
	assert_file("/sys/fs/cgroup" G "/io.max", "8:0 rbps=1000");
	assert_file("/sys/fs/cgroup" G "/pids.max", "");
	host_cgroup_close(cg);
	host_v2("cpuset cpu io memory pids\n");
	cg = new_group(G);
	l.cpu.quota = -1;
	l.cpu.period = 0;
	l.memory.limit = l.memory.swap = -1;
	assert_int_equal(host_cgroup_limit(cg, &l.all, 0, &e), 0);
	assert_file("/sys/fs/cgroup" G "/cpu.max", "max 100000");
	assert_file("/sys/fs/cgroup" G "/memory.max", "max");
	assert_file("/sys/fs/cgroup" G "/memory.swap.max", "max");
	l.memory.limit = 10;
	l.memory.swap = 5;
	assert_int_equal(host_cgroup_limit(cg, &l.all, 0, &e), -EINVAL);
	host_cgroup_close(cg);
}

/* NULL: as it is. */
static int set_cpuset(struct host_cgroup *cg, const char *cpus, const char *mems, struct err *e)
{
	struct cpu_list c, m;

	assert_int_equal(cpu_list_parse(cpus, &c), 0);
	assert_int_equal(cpu_list_parse(mems, &m), 0);
	return host_cgroup_cpuset(cg, cpus ? &c : NULL, mems ? &m : NULL, e);
}

static int check_cpuset(struct host_cgroup *cg, const char *cpus, struct err *e)
{
	struct cpu_list c, none = { 0 };

	assert_int_equal(cpu_list_parse(cpus, &c), 0);
	return host_cgroup_check_cpuset(cg, &c, &none, e);
}

/* Without a list there is that of the parent, which v1 must be told. */
static void cpuset_v1(void **state)
{
#define AT "/sys/fs/cgroup/cpuset"
	struct host_cgroup *cg;
	struct err e = { 0 };

	host_v1();
	put("0-3\n", AT "/kubepods/pod1/cpuset.cpus");
	cg = new_group(G);
	assert_int_equal(set_cpuset(cg, "1,2", "0-1", &e), 0);
	assert_file(AT G "/cpuset.cpus", "1-2");
	assert_file(AT G "/cpuset.mems", "0-1");
	assert_int_equal(set_cpuset(cg, "", "", &e), 0);
	assert_file(AT G "/cpuset.cpus", "0-3");
	/* of this it does not tell */
	assert_file(AT G "/cpuset.mems", "0-1");
	assert_int_equal(check_cpuset(cg, "8", &e), -EINVAL);
	assert_string_equal(e.text, "CPUs 8 were asked for, and cgroup " G " can have 0-3");
	assert_int_equal(check_cpuset(cg, "3,8", &e), 0);
	assert_int_equal(check_cpuset(cg, "", &e), 0);
	host_cgroup_close(cg);
#undef AT
}

static void cpuset_v2(void **state)
{
#define AT "/sys/fs/cgroup"
	struct host_cgroup *cg;
	struct err e = { 0 };

	host_v2("cpuset cpu io memory pids\n");
	/* what is written there is not what it has */
	put("\n", AT "/kubepods/pod1/cpuset.cpus");
	put("0-3\n", AT "/kubepods/pod1/cpuset.cpus.effective");
	cg = new_group(G);
	assert_int_equal(set_cpuset(cg, "1,2", NULL, &e), 0);
	assert_file(AT G "/cpuset.cpus", "1-2");
	assert_file(AT G "/cpuset.mems", "");
	put("", AT G "/cpuset.cpus");
	assert_int_equal(set_cpuset(cg, "", "", &e), 0);
	assert_file(AT G "/cpuset.cpus", "\n");
	assert_file(AT G "/cpuset.mems", "\n");
	assert_int_equal(check_cpuset(cg, "8-9", &e), -EINVAL);
	assert_int_equal(check_cpuset(cg, "3,8", &e), 0);
	host_cgroup_close(cg);
	host_v2("memory\n");
	cg = new_group(G);
	assert_int_equal(check_cpuset(cg, "8", &e), 0);
	assert_int_equal(set_cpuset(cg, "", "", &e), 0);
	assert_int_equal(set_cpuset(cg, "0", NULL, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.text, "no cgroup hierarchy with the controller cpuset"));
	host_cgroup_close(cg);
#undef AT
}

static void usage_v2(void **state)
{
	struct host_cgroup_usage u;
	struct host_cgroup *cg;

	host_v2("memory pids\n");
	put("1\n", "/sys/fs/cgroup" G "/memory.current");
	put("2\n", "/sys/fs/cgroup" G "/memory.peak");
	put("max\n", "/sys/fs/cgroup" G "/memory.max");
	put("3\n", "/sys/fs/cgroup" G "/pids.current");
	put("anon 7\nfile 8\ninactive_file 9\npgfault 10\npgmajfault 11\n", "/sys/fs/cgroup" G "/memory.stat");
	put("usage_usec 10\nuser_usec 6\nsystem_usec 4\n", "/sys/fs/cgroup" G "/cpu.stat");
	cg = new_group(G);
	assert_int_equal(host_cgroup_usage(cg, &u, NULL), 0);
	assert_int_equal(u.memory_bytes, 1);
	assert_int_equal(u.memory_peak_bytes, 2);
	assert_true(u.memory_limit_bytes == UINT64_MAX);
	assert_int_equal(u.cpu_ns, 10000);
	assert_int_equal(u.user_ns, 6000);
	assert_int_equal(u.system_ns, 4000);
	assert_int_equal(u.pids, 3);
	assert_int_equal(u.anon_bytes, 7);
	assert_int_equal(u.file_bytes, 8);
	assert_int_equal(u.inactive_file_bytes, 9);
	assert_int_equal(u.page_faults, 10);
	assert_int_equal(u.major_page_faults, 11);
	host_cgroup_close(cg);
}

/* What was asked for and cannot be had is an error that says who withholds it. */
static void absent(void **state)
{
	struct host_cgroup *cg;
	struct limits l;
	struct err e = { 0 };

	everything(&l);
	host_v2("cpuset cpu io memory\n");
	put("cpuset cpu\n", "/sys/fs/cgroup/kubepods/cgroup.controllers");
	put("42\n", "/sys/fs/cgroup/cgroup.procs");
	cg = new_group("/kubepods/pod2/c2");
	assert_int_equal(host_cgroup_limit(cg, &l.all, 0, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.text, "cgroup / does not hand controller memory down, because processes are in it"));
	l.all.memory = NULL;
	assert_int_equal(host_cgroup_limit(cg, &l.all, 0, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.text, "cgroup /kubepods does not hand controller cpu down"));
	assert_null(strstr(e.text, "because"));
	host_cgroup_close(cg);

	host_v2("memory\n");
	cg = new_group(G);
	assert_int_equal(host_cgroup_limit(cg, &l.all, 0, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.text, "no cgroup hierarchy with the controller cpu"));
	host_cgroup_close(cg);

	dir_remove(root);
	put("1 2 0:1 / / rw - ext4 /dev/vda rw\n", "/proc/self/mountinfo");
	cg = new_group(G);
	assert_int_equal(host_cgroup_notes(cg)->len, 1);
	assert_int_equal(host_cgroup_limit(cg, &l.all, 0, &e), -EOPNOTSUPP);
	assert_int_equal(host_cgroup_add(cg, getpid(), &e), 0);
	host_cgroup_free(cg);
}

/* The pod's limit, or a smaller one of its class; never the group's own. */
static void ceiling(void **state)
{
	struct host_cgroup *cg;

	host_v2("memory\n");
	put("1000\n", "/sys/fs/cgroup" G "/memory.max");
	cg = new_group(G);
	assert_true(host_cgroup_ceiling(cg) == UINT64_MAX);
	put("max\n", "/sys/fs/cgroup/kubepods/pod1/memory.max");
	assert_true(host_cgroup_ceiling(cg) == UINT64_MAX);
	put("5000\n", "/sys/fs/cgroup/kubepods/pod1/memory.max");
	assert_int_equal(host_cgroup_ceiling(cg), 5000);
	put("4000\n", "/sys/fs/cgroup/kubepods/memory.max");
	assert_int_equal(host_cgroup_ceiling(cg), 4000);
	put("3000\n", "/sys/fs/cgroup/memory.max");
	assert_int_equal(host_cgroup_ceiling(cg), 3000);
	host_cgroup_close(cg);

	host_v1();
	put("9223372036854771712\n", "/sys/fs/cgroup/memory/kubepods/pod1/memory.limit_in_bytes");
	cg = new_group(G);
	assert_true(host_cgroup_ceiling(cg) == UINT64_MAX);
	put("7000\n", "/sys/fs/cgroup/memory/kubepods/pod1/memory.limit_in_bytes");
	assert_int_equal(host_cgroup_ceiling(cg), 7000);
	host_cgroup_close(cg);
}

static void assert_path(const char *spec, const char *want, bool relative)
{
	_cleanup_free_ char *path = NULL;
	bool is_relative, systemd;
	struct err e = { 0 };

	assert_int_equal(host_cgroup_path(spec, "id", &path, &is_relative, &systemd, &e), 0);
	assert_string_equal(path, want);
	assert_int_equal(is_relative, relative);
}

static void paths(void **state)
{
	static const char *const bad[] = {
		"x:a:b", "-a.slice:a:b", "a--b.slice:a:b", "a-.slice:a:b", ".slice:a:b", NULL
	};
	_cleanup_free_ char *path = NULL;
	bool relative, systemd;
	struct err e = { 0 };

	assert_path("", "/caisson/id", false);
	assert_path(NULL, "/caisson/id", false);
	assert_path("/", "/caisson/id", false);
	assert_path("../..", "/caisson/id", false);
	assert_path("/kubepods/pod1//c1/", "/kubepods/pod1/c1", false);
	assert_path("/a/../../b", "/a/b", false);
	assert_path("a/b", "/a/b", true);
	assert_path("system.slice:docker:abc", "/system.slice/docker-abc.scope", false);
	assert_path(":docker:", "/system.slice/docker-id.scope", false);
	assert_path("user.slice::abc", "/user.slice/abc.scope", false);
	assert_path("-.slice:x:abc", "/x-abc.scope", false);
	assert_path("kubepods-burstable-pod1.slice:cri-containerd:c1",
		    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-c1.scope",
		    false);
	assert_path("a.slice:x:a-b.slice", "/a.slice/a-b.slice", false);
	assert_path("/a:b:c", "/a:b:c", false);
	for (const char *const *p = bad; *p; p++) {
		assert_int_equal(host_cgroup_path(*p, "id", &path, &relative, &systemd, &e), -EINVAL);
		assert_non_null(strstr(e.text, "slice"));
	}
}

/* What was there before belongs to somebody else and stays. */
static void removes_what_it_made(void **state)
{
	_cleanup_free_ char *kept = str_printf("%s/sys/fs/cgroup/cpuset/kubepods", root);
	_cleanup_free_ char *gone = str_printf("%s/sys/fs/cgroup/cpuset/kubepods/pod2", root);
	_cleanup_free_ char *own = str_printf("%s/sys/fs/cgroup/cpuset/caisson", root);
	struct host_cgroup *cg, *second;

	host_v1();
	cg = new_group("/kubepods/pod2/c2");
	assert_int_equal(access(gone, F_OK), 0);
	host_cgroup_free(cg);
	assert_int_equal(access(gone, F_OK), -1);
	assert_int_equal(access(kept, F_OK), 0);
	assert_int_equal(host_cgroup_new(root, "", "one", &cg, NULL), 0);
	assert_int_equal(host_cgroup_new(root, "", "two", &second, NULL), 0);
	host_cgroup_free(cg);
	assert_int_equal(access(own, F_OK), 0);
	host_cgroup_free(second);
	assert_int_equal(access(own, F_OK), -1);
	cg = new_group("beside");
	assert_string_equal(host_cgroup_find(cg, "cpu")->path, "/own/beside");
	assert_string_equal(host_cgroup_find(cg, "memory")->path, "/beside");
	host_cgroup_free(cg);
}

/* They would be ended with the pod: those of another container with the same cgroupsPath, or of a whole slice. */
static void refuses_what_others_use(void **state)
{
	struct host_cgroup *cg = NULL;
	char text[24];
	struct err e = { 0 };

	host_v1();
	snprintf(text, sizeof text, "%d\n", (int)getpid());
	put(text, "/sys/fs/cgroup/cpuset/used/cgroup.procs");
	put(text, "/sys/fs/cgroup/cpuset/slice/service/cgroup.procs");
	assert_int_equal(host_cgroup_new(root, "/used", "id", &cg, &e), -EBUSY);
	assert_non_null(strstr(e.text, "cgroup /used has processes of others in it"));
	assert_int_equal(host_cgroup_new(root, "/slice", "id", &cg, &e), -EBUSY);
	assert_null(cg);
	cg = new_group("/slice/other");
	host_cgroup_free(cg);
}

static void tells_of_systemd(void **state)
{
	struct host_cgroup *cg;

	host_v1();
	cg = new_group("machine.slice:libpod:x");
	assert_int_equal(host_cgroup_notes(cg)->len, 1);
	assert_non_null(strstr(host_cgroup_notes(cg)->v[0], "/machine.slice/libpod-x.scope"));
	host_cgroup_free(cg);
}

static void described(void **state)
{
	_cleanup_free_ char *text = NULL, *again = NULL;
	_cleanup_free_ char *gone = str_printf("%s/sys/fs/cgroup/cpuset/x", root);
	static const char *const bad[] = { "",
					   "{}",
					   "{\"groups\":[{}]}",
					   "{\"groups\":[{\"v2\":false,\"controllers\":[],\"mount_point\":\"/\","
					   "\"path\":\"/\",\"made\":1}]}",
					   "{\"groups\":[{\"v2\":false,\"controllers\":[1],\"mount_point\":\"/x\","
					   "\"path\":\"/x\",\"made\":1}]}",
					   NULL };
	struct host_cgroup *cg;
	struct err e = { 0 };

	host_v1();
	cg = new_group("/x/y");
	text = host_cgroup_describe(cg);
	assert_non_null(text);
	assert_null(strchr(text, '\n'));
	host_cgroup_close(cg);
	assert_int_equal(host_cgroup_open(text, &cg, &e), 0);
	again = host_cgroup_describe(cg);
	assert_string_equal(text, again);
	assert_int_equal(host_cgroup_kill(cg), 0);
	host_cgroup_free(cg);
	assert_int_equal(access(gone, F_OK), -1);
	/* what is gone can be opened and removed once more */
	assert_int_equal(host_cgroup_open(text, &cg, &e), 0);
	assert_int_equal(host_cgroup_kill(cg), 0);
	host_cgroup_free(cg);
	for (const char *const *p = bad; *p; p++)
		assert_int_not_equal(host_cgroup_open(*p, &cg, &e), 0);
}

/* ---- real hierarchies ---- */

static void *sleep_for_ever(void *arg)
{
	for (;;)
		pause();
	return NULL;
}

/* A process with a second thread, which forks a child of its own once a byte comes. *ret_tid: the thread. */
static pid_t process_with_thread(int *ret_go)
{
	int go[2], ready[2];
	char byte = 0;
	pid_t pid;

	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		pthread_t t;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		if (pthread_create(&t, NULL, sleep_for_ever, NULL) != 0 || write(ready[1], &byte, 1) != 1 ||
		    read(go[0], &byte, 1) != 1)
			_exit(1);
		if (fork() == 0)
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		sleep_for_ever(NULL);
	}
	close(go[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*ret_go = go[1];
	return pid;
}

/* Are both threads of pid in the group, in as many hierarchies as cg has? */
static bool all_threads_in(pid_t pid, const struct host_cgroup *cg)
{
	_cleanup_free_ char *tasks = str_printf("/proc/%d/task", pid);
	_cleanup_closedir_ DIR *d = opendir(tasks);
	struct dirent *entry;
	unsigned n = 0;

	while (d && (entry = readdir(d))) {
		_cleanup_free_ char *file = str_printf("%s/%s/cgroup", tasks, entry->d_name), *text = NULL;
		size_t in = 0;
		char *rest, *line;

		if (entry->d_name[0] == '.' || file_read(file, 65536, &text, NULL) < 0)
			continue;
		n++;
		rest = text;
		while ((line = strsep(&rest, "\n")))
			in += str_endswith(line, cg->path);
		if (in != cg->n_groups)
			return false;
	}
	return n == 2;
}

static void each_path(const struct host_cgroup *cg, bool there)
{
	for (size_t i = 0; i < cg->n_groups; i++) {
		_cleanup_free_ char *path = str_printf("%s%s", cg->groups[i].mount_point, cg->groups[i].path);

		assert_int_equal(access(path, F_OK), there ? 0 : -1);
	}
}

static bool has_all_cpus(const struct host_cgroup *cg)
{
	const struct host_group *g = host_cgroup_find(cg, "cpuset");
	_cleanup_free_ char *its = NULL, *parents = NULL;

	assert_int_equal(file_read_at(g->dir_fd, g->v2 ? "cpuset.cpus.effective" : "cpuset.cpus", 4096, &its, NULL), 0);
	assert_int_equal(
		file_read_at(g->dir_fd, g->v2 ? "../cpuset.cpus.effective" : "../cpuset.cpus", 4096, &parents, NULL),
		0);
	return str_eq(its, parents);
}

/* The life of a group in whatever hierarchies there are; limits: whether there are controllers. */
static void life(const char *path, bool limits)
{
	_cleanup_free_ char *text = NULL;
	struct host_cgroup *cg, *seen;
	struct host_cgroup_usage u;
	struct limits l;
	struct err e = { 0 };
	int status, go;
	pid_t pid;

	assert_int_equal(host_cgroup_new(NULL, path, "id", &cg, &e), 0);
	assert_true(cg->n_groups > 0);
	each_path(cg, true);
	pid = process_with_thread(&go);
	assert_int_equal(host_cgroup_add(cg, pid, &e), 0);
	assert_true(all_threads_in(pid, cg));
	assert_int_equal(write(go, "", 1), 1);
	close(go);
	if (limits) {
		everything(&l);
		l.all.blockio = NULL;
		l.memory.limit = l.memory.swap = 64 << 20;
		assert_int_equal(host_cgroup_limit(cg, &l.all, 0, &e), 0);
		assert_int_equal(host_cgroup_usage(cg, &u, &e), 0);
		assert_int_equal(u.memory_limit_bytes, 64 << 20);
		assert_true(u.memory_limit_bytes >= u.memory_bytes);
		/* to and fro: each order of the two limits */
		l.memory.limit = l.memory.swap = 128 << 20;
		assert_int_equal(host_cgroup_limit(cg, &l.all, 32, &e), 0);
		l.memory.limit = l.memory.swap = 32 << 20;
		assert_int_equal(host_cgroup_limit(cg, &l.all, 0, &e), 0);
		l.memory.limit = l.memory.swap = -1;
		assert_int_equal(host_cgroup_limit(cg, &l.all, 0, &e), 0);
		assert_int_equal(host_cgroup_usage(cg, &u, &e), 0);
		assert_true(u.memory_limit_bytes == UINT64_MAX);
		assert_int_equal(set_cpuset(cg, "0", "0", &e), 0);
		assert_true(set_cpuset(cg, "0,8191", NULL, &e) < 0);
		assert_non_null(strstr(e.text, "; its parent has 0"));
		assert_int_equal(check_cpuset(cg, "8191", &e), -EINVAL);
		assert_int_equal(set_cpuset(cg, "", "", &e), 0);
		assert_true(has_all_cpus(cg));
	}
	/* the built-in VMM lives in its owner, which is in the group then */
	assert_int_equal(host_cgroup_add(cg, getpid(), &e), 0);
	text = host_cgroup_describe(cg);
	assert_int_equal(host_cgroup_open(text, &seen, &e), 0);
	assert_int_equal(host_cgroup_kill(seen), 0);
	host_cgroup_close(seen);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	each_path(cg, true);
	assert_int_equal(host_cgroup_open(text, &seen, &e), 0);
	host_cgroup_free(cg);
	each_path(seen, false);
	host_cgroup_close(seen);
}

/* Whichever version has the controllers: v1 on one machine, v2 on the other. */
static bool can_limit(void)
{
	_cleanup_cgroup_layout_ struct cgroup_layout l = { 0 };
	static const char *const needed[] = { "cpu", "cpuset", "memory", NULL };

	if (geteuid() || cgroup_layout_read(NULL, &l, NULL) < 0)
		return false;
	for (const char *const *c = needed; *c; c++) {
		const struct cgroup_hierarchy *h = cgroup_layout_find(&l, *c);

		if (!h || access(h->mount_point, W_OK) < 0)
			return false;
	}
	return true;
}

static void real_hierarchies(void **state)
{
	_cleanup_free_ char *path = str_printf("/caisson-test-%d/pod/c1", getpid());
	_cleanup_free_ char *top = str_printf("/caisson-test-%d", getpid());
	struct host_cgroup *cg;

	if (!can_limit())
		skip();
	life(path, true);
	/* the ancestor that was made for it is gone, too: making it again makes it */
	assert_int_equal(host_cgroup_new(NULL, top, "id", &cg, NULL), 0);
	for (size_t i = 0; i < cg->n_groups; i++)
		assert_int_equal(cg->groups[i].made, 1);
	host_cgroup_free(cg);
}

/* Removing waits for a process that is about to end. */
static void waits_for_the_last(void **state)
{
	_cleanup_free_ char *path = str_printf("/caisson-test-%d", getpid());
	struct host_cgroup *cg, *seen;
	_cleanup_free_ char *text = NULL;
	int end[2];
	pid_t pid;

	if (!can_limit())
		skip();
	assert_int_equal(host_cgroup_new(NULL, path, "id", &cg, NULL), 0);
	assert_int_equal(pipe(end), 0);
	pid = fork();
	if (pid == 0) {
		/* 100 ms after its parent closed the pipe: while the parent removes */
		close(end[1]);
		while (read(end[0], &(char){ 0 }, 1) > 0)
			;
		usleep(100000);
		_exit(0);
	}
	close(end[0]);
	assert_int_equal(host_cgroup_add(cg, pid, NULL), 0);
	text = host_cgroup_describe(cg);
	assert_int_equal(host_cgroup_open(text, &seen, NULL), 0);
	close(end[1]);
	host_cgroup_free(cg);
	each_path(seen, false);
	host_cgroup_close(seen);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* One that does not end by itself is ended. */
static void ends_the_last(void **state)
{
	_cleanup_free_ char *path = str_printf("/caisson-test-%d/pod/c3", getpid()), *text = NULL;
	struct host_cgroup *cg, *seen;
	int status;
	pid_t pid;

	if (!can_limit())
		skip();
	assert_int_equal(host_cgroup_new(NULL, path, "id", &cg, NULL), 0);
	pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_int_equal(host_cgroup_add(cg, pid, NULL), 0);
	text = host_cgroup_describe(cg);
	assert_int_equal(host_cgroup_open(text, &seen, NULL), 0);
	host_cgroup_free(cg);
	each_path(seen, false);
	host_cgroup_close(seen);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* In a child, because namespaces cannot be left. 77: that is not possible here. */
static int in_private_v2(void)
{
	_cleanup_free_ char *path = str_printf("/caisson-test-v2-%d/pod/c1", getpid());
	_cleanup_free_ char *top = str_printf("/sys/fs/cgroup/caisson-test-v2-%d", getpid());

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 77;
	while (umount2("/sys/fs/cgroup", MNT_DETACH) == 0)
		;
	if (mount("none", "/sys/fs/cgroup", "cgroup2", 0, NULL) < 0)
		return 77;
	life(path, false);
	return access(top, F_OK) == 0;
}

static void private_v2(void **state)
{
	int status;
	pid_t pid;

	if (geteuid())
		skip();
	pid = fork();
	if (pid == 0)
		_exit(in_private_v2());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(limits_v1),
		cmocka_unit_test(usage_v1),
		cmocka_unit_test(limits_v2),
		cmocka_unit_test(usage_v2),
		cmocka_unit_test(cpuset_v1),
		cmocka_unit_test(cpuset_v2),
		cmocka_unit_test(absent),
		cmocka_unit_test(ceiling),
		cmocka_unit_test(removes_what_it_made),
		cmocka_unit_test(refuses_what_others_use),
		cmocka_unit_test(tells_of_systemd),
		cmocka_unit_test(described),
		cmocka_unit_test(real_hierarchies),
		cmocka_unit_test(waits_for_the_last),
		cmocka_unit_test(ends_the_last),
		cmocka_unit_test(private_v2),
	};

#ifdef __SANITIZE_THREAD__
	print_message("not under the thread sanitizer: it has a thread in each process\n");
	return 77;
#endif
	return cmocka_run_group_tests(tests, make_root, remove_root);
}

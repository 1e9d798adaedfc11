/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of a virtual machine that proves what a developer's machine cannot: containers on the initial root file
 * system (no pivot_root), and real cgroup v2 limits. Started by tests/agent/run; prints one line per check.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/container.h"
#include "agent/rootfs.h"
#include "base/fd.h"
#include "base/strv.h"
#include "sys/namespaces.h"

#define ROOT "/run/rootfs"

static struct loop *loop;
static struct reaper *reaper;
static int failures;
static char output[65536];
static int exit_status;
static int ooms;
static uint32_t setup_timeout_ms; /* of the next start() */
static Grpc__StatsContainerResponse *stats;

#define CHECK(what, condition)                                                                                         \
	do {                                                                                                           \
		bool ok_ = (condition);                                                                                \
		printf("%s: %s\n", ok_ ? "ok" : "FAILED", what);                                                       \
		if (!ok_)                                                                                              \
			printf("  status %d, output: %s\n", exit_status, output);                                      \
		failures += !ok_;                                                                                      \
	} while (0)

struct spec {
	Grpc__Spec spec;
	Grpc__Process process;
	Grpc__User user;
	Grpc__Root root;
	Grpc__Linux l;
	Grpc__LinuxCapabilities caps;
	Grpc__LinuxResources res;
	Grpc__LinuxNamespace ns[6], *ns_p[6];
	Grpc__Mount mount[6], *mount_p[6];
	char *args[3], *env[1], *all_caps[41], *cgroup_options[1];
};

static void spec_init(struct spec *s, const char *script)
{
	static const char *const types[] = { "mount", "uts", "ipc", "cgroup", "pid" };
	static const char *const mounts[][2] = { { "/proc", "proc" },
						 { "/dev", "tmpfs" },
						 { "/dev/pts", "devpts" },
						 { "/sys", "sysfs" },
						 { "/sys/fs/cgroup", "cgroup" } };
	static const char *const caps[] = { "CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_DAC_OVERRIDE",
					    "CAP_KILL" };

	memset(s, 0, sizeof(*s));
	s->spec = (Grpc__Spec)GRPC__SPEC__INIT;
	s->process = (Grpc__Process)GRPC__PROCESS__INIT;
	s->user = (Grpc__User)GRPC__USER__INIT;
	s->root = (Grpc__Root)GRPC__ROOT__INIT;
	s->l = (Grpc__Linux)GRPC__LINUX__INIT;
	s->caps = (Grpc__LinuxCapabilities)GRPC__LINUX_CAPABILITIES__INIT;
	s->res = (Grpc__LinuxResources)GRPC__LINUX_RESOURCES__INIT;
	s->spec.process = &s->process;
	s->spec.root = &s->root;
	s->spec.linux = &s->l;
	s->root.path = (char *)ROOT;
	s->l.resources = &s->res;
	s->l.namespaces = s->ns_p;
	for (size_t i = 0; i < 5; i++) {
		s->ns[i] = (Grpc__LinuxNamespace)GRPC__LINUX_NAMESPACE__INIT;
		s->ns[i].type = (char *)types[i];
		s->ns_p[i] = &s->ns[i];
		s->mount[i] = (Grpc__Mount)GRPC__MOUNT__INIT;
		s->mount[i].destination = (char *)mounts[i][0];
		s->mount[i].type = s->mount[i].source = (char *)mounts[i][1];
		s->mount_p[i] = &s->mount[i];
		s->all_caps[i] = (char *)caps[i];
	}
	s->cgroup_options[0] = (char *)"ro";
	s->mount[4].options = s->cgroup_options;
	s->mount[4].n_options = 1;
	s->l.n_namespaces = s->spec.n_mounts = 5;
	s->spec.mounts = s->mount_p;
	s->process.cwd = (char *)"/";
	s->process.user = &s->user;
	s->process.capabilities = &s->caps;
	s->caps.bounding = s->caps.effective = s->caps.permitted = s->all_caps;
	s->caps.n_bounding = s->caps.n_effective = s->caps.n_permitted = 5;
	s->env[0] = (char *)"PATH=/bin";
	s->process.env = s->env;
	s->process.n_env = 1;
	s->args[0] = (char *)"sh";
	s->args[1] = (char *)"-c";
	s->args[2] = (char *)script;
	s->process.args = s->args;
	s->process.n_args = 3;
}

static void on_oom(struct container *c, void *userdata)
{
	ooms++;
}

struct started {
	bool done;
	int result;
	struct process *p;
};

static void on_created(struct container *c, int result, const struct err *e, void *userdata)
{
	*(struct started *)userdata = (struct started){ true, result, container_find_process(c, "") };
	if (result < 0)
		snprintf(output, sizeof(output), "%s", e->text);
}

static void on_started(struct process *p, int result, const struct err *e, void *userdata)
{
	*(struct started *)userdata = (struct started){ true, result, p };
	if (result < 0)
		snprintf(output, sizeof(output), "%s", e->text);
}

/* r: of the call that on_started() answers. NULL: it failed, output says why. */
static struct process *await_started(struct started *s, int r, const struct err *e)
{
	if (r < 0) {
		snprintf(output, sizeof(output), "%s", e->text);
		return NULL;
	}
	while (!s->done)
		loop_run_once(loop, 1000);
	return s->result < 0 ? NULL : s->p;
}

static struct process *exec(struct container *c, const Grpc__Process *request)
{
	struct started s = { 0 };
	struct err e = { 0 };

	return await_started(&s, container_exec(c, "e", request, on_started, &s, &e), &e);
}

static struct container *start(struct spec *s)
{
	struct container_params p = { .id = "c",
				      .spec = &s->spec,
				      .bundle = "/run",
				      .uts_ns_fd = -1,
				      .ipc_ns_fd = -1,
				      .pid_ns_fd = -1,
				      .loop = loop,
				      .reaper = reaper,
				      .setup_timeout_ms = setup_timeout_ms };
	struct started created = { 0 }, started = { 0 };
	struct container *c = NULL;
	struct err e = { 0 };

	if (!await_started(&created, container_create(&p, on_created, &created, &c, &e), &e)) {
		container_free(c);
		return NULL;
	}
	container_on_oom(c, on_oom, NULL);
	if (!await_started(&started, container_start(c, on_started, &started, &e), &e)) {
		container_free(c);
		return NULL;
	}
	return c;
}

static void finish(struct process *p)
{
	size_t len = 0;
	uint64_t end = clock_ms() + 60000;
	bool open_ends[2] = { true, true };

	while ((!process_exited(p) || open_ends[0] || open_ends[1]) && clock_ms() < end) {
		int fds[2] = { process_stdout_fd(p), process_stderr_fd(p) };
		struct pollfd polled[2] = { { .fd = open_ends[0] ? fds[0] : -1, .events = POLLIN },
					    { .fd = open_ends[1] ? fds[1] : -1, .events = POLLIN } };

		poll(polled, 2, 20);
		for (int i = 0; i < 2; i++) {
			ssize_t n = polled[i].revents ? read(fds[i], output + len, sizeof(output) - 1 - len) : -1;

			if (n > 0)
				len += (size_t)n;
			else if (n == 0)
				open_ends[i] = false;
		}
		loop_run_once(loop, 0);
	}
	output[len] = '\0';
	exit_status = process_exited(p) ? process_exit_status(p) : -1;
}

/* Run the spec to its end. False: it did not start. */
static bool run(struct spec *s)
{
	struct container *c = start(s);
	struct err e = { 0 };

	exit_status = -1;
	if (!c)
		return false;
	finish(container_find_process(c, ""));
	for (int i = 0; i < 10; i++)
		loop_run_once(loop, 5);
	if (stats)
		grpc__stats_container_response__free_unpacked(stats, NULL);
	stats = calloc(1, sizeof(*stats));
	grpc__stats_container_response__init(stats);
	if (container_stats(c, stats, &e) < 0)
		printf("FAILED: %s\n", e.text);
	container_free(c);
	return true;
}

static int count_lines(const char *path)
{
	_cleanup_free_ char *text = NULL;
	int n = 0;

	if (file_read(path, 1 << 20, &text, NULL) < 0)
		return -1;
	for (const char *p = text; *p; p++)
		n += *p == '\n';
	return n;
}

/* ---- checks ---- */

static void initial_rootfs(void)
{
	struct spec s;
	int mounts = count_lines("/proc/self/mountinfo");
	uint64_t begin;

	spec_init(&s, "ls /; [ -e /init ] && echo init; [ -e /proc/1/root/init ] && echo init; cat /proc/self/cgroup;"
		      "grep -c . /proc/self/mountinfo; ls /sys/fs/cgroup/memory.max;"
		      "(echo 1 >/sys/fs/cgroup/pids.max) 2>/dev/null || echo ro");
	begin = clock_us();
	CHECK("a container starts on the initial root file system", run(&s) && exit_status == 0);
	printf("  created, run and removed in %llu us\n", (unsigned long long)(clock_us() - begin));
	CHECK("it sees its own root only",
	      str_eq(output, "bin\ndev\nproc\nsys\ntmp\n0::/\n6\n/sys/fs/cgroup/memory.max\nro\n"));
	CHECK("no mount is left", count_lines("/proc/self/mountinfo") == mounts);
	CHECK("no cgroup is left", access("/sys/fs/cgroup/kata", F_OK) < 0);
	spec_init(&s,
		  "mkdir -p /tmp/jail/bin; cp /bin/busybox /tmp/jail/bin; cd /; "
		  "chroot /tmp/jail /bin/busybox sh -c 'cd ../../../../../..; ls; [ -e init ] && echo escaped';"
		  "umount -l /; ls /; ls ../../..; [ -e /secret ] && echo escaped; [ -e ../../run ] && echo escaped;"
		  "nsenter -t 1 -m /bin/sh -c 'ls /run' 2>&1 || echo refused");
	CHECK("chroot and unmounting do not uncover the agent's mounts",
	      run(&s) && !strstr(output, "escaped") && !strstr(output, "rootfs"));
}

static void empty_root(void)
{
	int mounts = count_lines("/proc/self/mountinfo"), status = -1;
	pid_t pid = clone_process(CLONE_NEWNS, -1);

	if (pid == 0) {
		_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY);
		struct err e = { 0 };

		if (rootfs_enter_empty("/run", &e) < 0) {
			printf("  %s\n", e.text);
			_exit(1);
		}
		/* ".." of a mount that has been taken away is itself. */
		_exit(access("/init", F_OK) == 0 || access("/proc", F_OK) == 0 || access("../init", F_OK) == 0 ||
				      mkdir("/x", 0755) == 0 || errno != EROFS ||
				      faccessat(proc, "../init", F_OK, 0) == 0
			      ? 2
			      : 0);
	}
	waitpid(pid, &status, 0);
	CHECK("a process leaves the initial root file system for an empty one", status == 0);
	CHECK("the mounts are still there", count_lines("/proc/self/mountinfo") == mounts);
}

static void memory_limit(void)
{
	struct spec s;
	Grpc__LinuxMemory m = GRPC__LINUX_MEMORY__INIT;

	m.limit = m.swap = 16 << 20;
	spec_init(&s, "cat /sys/fs/cgroup/memory.max; tail /dev/zero; echo $?");
	s.res.memory = &m;
	ooms = 0;
	CHECK("memory.max kills", run(&s) && strstr(output, "16777216\n") && strstr(output, "137\n"));
	CHECK("the OOM callback is called", ooms == 1);
	CHECK("memory statistics", stats->cgroup_stats->memory_stats->usage->limit == 16 << 20 &&
					   stats->cgroup_stats->memory_stats->usage->max_usage > 8 << 20 &&
					   stats->cgroup_stats->memory_stats->n_stats > 10);
	m.swap = 1 << 20;
	CHECK("memory+swap below memory is refused", !run(&s) && strstr(output, "below the memory limit"));
}

static void pids_limit(void)
{
	struct spec s;
	Grpc__LinuxPids p = GRPC__LINUX_PIDS__INIT;

	p.limit = 6;
	spec_init(&s, "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo all");
	s.res.pids = &p;
	CHECK("pids.max refuses the sixth child",
	      run(&s) && exit_status != 0 && strstr(output, "fork") && !strstr(output, "all"));
	CHECK("pids statistics", stats->cgroup_stats->pids_stats->limit == 6);
	p.limit = 1;
	spec_init(&s, "echo alone");
	s.res.pids = &p;
	CHECK("a limit of one process is enough to start", run(&s) && str_eq(output, "alone\n"));
}

static void cpu_limit(void)
{
	struct spec s;
	Grpc__LinuxCPU c = GRPC__LINUX_CPU__INIT;

	c.quota = 20000;
	c.shares = 1024;
	c.cpus = (char *)"0";
	spec_init(&s, "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.weight /sys/fs/cgroup/cpuset.cpus.effective;"
		      "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
	s.res.cpu = &c;
	CHECK("cpu.max, cpu.weight, cpuset.cpus are set", run(&s) && str_eq(output, "20000 100000\n39\n0\n"));
	CHECK("cpu.max throttles", stats->cgroup_stats->cpu_stats->throttling_data->throttled_periods > 0 &&
					   stats->cgroup_stats->cpu_stats->cpu_usage->total_usage > 0);
}

static void device_rules(void)
{
	struct spec s;
	Grpc__LinuxDeviceCgroup d[2] = { GRPC__LINUX_DEVICE_CGROUP__INIT, GRPC__LINUX_DEVICE_CGROUP__INIT };
	Grpc__LinuxDeviceCgroup *list[] = { &d[0], &d[1] };
	/* No driver has 240:1: who is let through is told ENXIO. Reading 1:11 is allowed, writing is not. */
	const char *script = "mknod /tmp/none c 240 1 && echo made; cat /tmp/none 2>&1; mknod /tmp/kmsg c 1 11;"
			     "(head -c0 /tmp/kmsg) 2>&1 && echo read; (echo x >/tmp/kmsg) 2>&1 && echo written;"
			     "head -c1 /dev/zero | wc -c; rm -f /tmp/none /tmp/kmsg";

	d[0].type = (char *)"a";
	d[0].access = (char *)"rwm";
	d[1].allow = true;
	d[1].type = (char *)"c";
	d[1].major = 1;
	d[1].minor = 11;
	d[1].access = (char *)"r";
	spec_init(&s, script);
	s.res.devices = list;
	s.res.n_devices = 2;
	CHECK("devices are denied but for the rules",
	      run(&s) && strstr(output, "made\n") && strstr(output, "'/tmp/none': Operation not permitted") &&
		      strstr(output, "read\n") && !strstr(output, "written") && strstr(output, "\n1\n"));
	s.res.n_devices = 0;
	CHECK("without rules they are not",
	      run(&s) && strstr(output, "'/tmp/none': No such device") && strstr(output, "written\n"));
}

static void pause_exec_update(void)
{
	struct spec s;
	struct container *c;
	struct process *p;
	struct err e = { 0 };
	Grpc__Process request;
	Grpc__LinuxPids pids = GRPC__LINUX_PIDS__INIT;
	Grpc__LinuxResources update = GRPC__LINUX_RESOURCES__INIT;
	char *args[3] = { (char *)"sh", (char *)"-c", (char *)"cat /proc/self/cgroup /sys/fs/cgroup/pids.max; ls /" };
	_cleanup_free_ char *frozen = NULL;

	spec_init(&s, "sleep 1000 & sleep 1000");
	c = start(&s);
	CHECK("a container runs", c != NULL);
	if (!c)
		return;
	CHECK("pause", container_pause(c, &e) == 0 &&
			       file_read("/sys/fs/cgroup/kata/c/cgroup.events", 4096, &frozen, NULL) == 0 &&
			       strstr(frozen, "frozen 1"));
	CHECK("resume", container_resume(c, &e) == 0);
	pids.limit = 77;
	update.pids = &pids;
	CHECK("update", container_update(c, &update, &e) == 0);
	request = s.process;
	request.args = args;
	p = exec(c, &request);
	if (p)
		finish(p);
	CHECK("exec joins the cgroup and the mounts", str_eq(output, "0::/\n77\nbin\ndev\nproc\nsys\ntmp\n"));
	CHECK("all are signalled", container_signal_all(c, SIGTERM, &e) == 0);
	container_pause(c, &e);
	container_free(c); /* a frozen one too */
	CHECK("a frozen container is removed", access("/sys/fs/cgroup/kata", F_OK) < 0);
}

/* Its init is stopped on its way, as others in a shared PID namespace can. */
static void stopped_init(void)
{
	static const char stop[] = "/bin/busybox sed 's/.*\"pid\":\\([0-9]*\\).*/kill -STOP \\1/' | /bin/busybox sh";
	char *args[] = { (char *)"busybox", (char *)"sh", (char *)"-c", (char *)stop };
	Grpc__Hooks hooks = GRPC__HOOKS__INIT;
	Grpc__Hook hook = GRPC__HOOK__INIT, *list[] = { &hook };
	int mounts = count_lines("/proc/self/mountinfo");
	struct spec s;

	spec_init(&s, "true");
	hook.path = (char *)"/bin/busybox";
	hook.args = args;
	hook.n_args = 4;
	hooks.prestart = list;
	hooks.n_prestart = 1;
	s.spec.hooks = &hooks;
	setup_timeout_ms = 2000;
	CHECK("a creation that does not come is given up", !start(&s) && strstr(output, "not ready within 2000 ms"));
	setup_timeout_ms = 0;
	for (int i = 0; i < 400 && waitid(P_ALL, 0, &(siginfo_t){ 0 }, WEXITED | WNOHANG | WNOWAIT) == 0; i++)
		loop_run_once(loop, 10);
	CHECK("no process, mount and cgroup of it is left", waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD &&
								    count_lines("/proc/self/mountinfo") == mounts &&
								    access("/sys/fs/cgroup/kata", F_OK) < 0);
}

static void no_pid_namespace(void)
{
	struct spec s;
	struct container *c;

	spec_init(&s, "setsid sleep 1234 >/dev/null 2>&1 & echo up");
	s.l.n_namespaces = 4; /* pid is the last */
	c = start(&s);
	CHECK("a container without PID namespace runs", c != NULL);
	if (!c)
		return;
	finish(container_find_process(c, ""));
	for (int i = 0; i < 400 && waitid(P_ALL, 0, &(siginfo_t){ 0 }, WEXITED | WNOHANG | WNOWAIT) == 0; i++)
		loop_run_once(loop, 10);
	CHECK("what it left behind dies with it", waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
	container_free(c);
}

/* A container that divides its cgroup, as systemd does, can still be entered. */
static void own_cgroups(void)
{
	struct spec s;
	struct container *c;
	struct process *p;
	Grpc__Process request;
	char *args[3] = { (char *)"sh", (char *)"-c", (char *)"cat /proc/self/cgroup" };
	_cleanup_free_ char *control = NULL;

	spec_init(&s,
		  "cd /sys/fs/cgroup && mkdir sub && echo 1 >sub/cgroup.procs && echo +memory >cgroup.subtree_control;"
		  "exec sleep 1000");
	s.mount[4].n_options = 0;
	c = start(&s);
	for (int i = 0; c && i < 500 && !(control && *control); i++) {
		free(control);
		control = NULL;
		loop_run_once(loop, 10);
		file_read("/sys/fs/cgroup/kata/c/cgroup.subtree_control", 4096, &control, NULL);
	}
	CHECK("a container divides its cgroup", c && control && strstr(control, "memory"));
	request = s.process;
	request.args = args;
	p = c ? exec(c, &request) : NULL;
	if (p)
		finish(p);
	CHECK("exec goes where its init is", str_eq(output, "0::/sub\n"));
	container_free(c);
	CHECK("its groups are removed", access("/sys/fs/cgroup/kata", F_OK) < 0);
}

static void cycles(void)
{
	struct spec s;
	uint64_t begin = clock_us();
	bool ok = true;

	spec_init(&s, "true");
	for (int i = 0; i < 20 && ok; i++)
		ok = run(&s) && exit_status == 0;
	CHECK("twenty containers, one after the other", ok);
	printf("  %llu us each\n", (unsigned long long)(clock_us() - begin) / 20);
}

static void set_up(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mkdir("/run", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("tmpfs", "/run", "tmpfs", 0, NULL);
	mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, "nsdelegate");
	mkdir("/run/secret", 0700);
	dir_make(ROOT "/bin", 0755);
	dir_make(ROOT "/tmp", 01777);
	if (system("/bin/busybox cp /bin/busybox " ROOT "/bin/busybox && /bin/busybox chroot " ROOT
		   " /bin/busybox --install -s /bin") != 0)
		printf("FAILED: busybox\n");
}

int main(void)
{
	/* system(3) wants a shell. */
	if (symlink("busybox", "/bin/sh") < 0 && errno != EEXIST)
		return 1;
	set_up();
	setvbuf(stdout, NULL, _IONBF, 0);
	if (loop_new(&loop, NULL) < 0 || reaper_new(loop, &reaper, NULL) < 0)
		return 1;
	initial_rootfs();
	empty_root();
	memory_limit();
	pids_limit();
	cpu_limit();
	device_rules();
	pause_exec_update();
	stopped_init();
	no_pid_namespace();
	own_cgroups();
	cycles();
	printf(failures ? "RESULT: %d FAILED\n" : "RESULT: PASSED\n", failures);
	sync();
	reboot(RB_POWER_OFF);
	return 0;
}

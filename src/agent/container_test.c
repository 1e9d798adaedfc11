/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole containers, made of busybox in a mount namespace of the test's own. Needs root and a static busybox; skips
 * without. Cgroups are the business of tests/agent/cgroup-vm.
 */
#include "agent/container.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/container_internal.h"
#include "base/entries.h"
#include "base/fd.h"
#include "base/strv.h"
#include "oci/spec.h"
#include "sys/namespaces.h"

#define BUSYBOX  "/bin/busybox"
#define TOP      "/mnt"
#define ROOT     TOP "/root"
#define BUNDLE   TOP "/bundle"
#define ARRAY(a) .n_##a = sizeof(a) / sizeof((a)[0]), .a = a

/* ---- a spec to start from; tests change it ---- */

#define MAX 32
struct fixture {
	struct loop *loop;
	struct reaper *reaper;
	Grpc__Spec spec;
	Grpc__Process process;
	Grpc__User user;
	Grpc__Root root;
	Grpc__Linux linux_;
	Grpc__LinuxCapabilities caps;
	Grpc__Hooks hooks;
	Grpc__Hook hook[MAX], *hook_p[MAX];
	Grpc__LinuxNamespace ns[8], *ns_p[8];
	Grpc__Mount mount[MAX], *mount_p[MAX];
	char *options[MAX][8];
	char *args[4], *env[MAX], *cap_names[MAX];
	Grpc__POSIXRlimit rlimit, *rlimit_p[1];
	struct err e;
	int fds_before;
	char out[65536], err_out[65536];
	int status;
};

static void add_mount(struct fixture *f, const char *destination, const char *type, const char *source, const char *o1,
		      const char *o2)
{
	size_t i = f->spec.n_mounts++;

	f->mount[i] = (Grpc__Mount)GRPC__MOUNT__INIT;
	f->mount[i].destination = (char *)destination;
	f->mount[i].type = (char *)type;
	f->mount[i].source = (char *)source;
	f->options[i][0] = (char *)o1;
	f->options[i][1] = (char *)o2;
	f->mount[i].options = f->options[i];
	f->mount[i].n_options = o2 ? 2 : o1 ? 1 : 0;
	f->mount_p[i] = &f->mount[i];
}

static void add_ns(struct fixture *f, const char *type)
{
	size_t i = f->linux_.n_namespaces++;

	f->ns[i] = (Grpc__LinuxNamespace)GRPC__LINUX_NAMESPACE__INIT;
	f->ns[i].type = (char *)type;
	f->ns_p[i] = &f->ns[i];
}

static void sh(struct fixture *f, const char *script)
{
	f->args[0] = (char *)"sh";
	f->args[1] = (char *)"-c";
	f->args[2] = (char *)script;
	f->process.args = f->args;
	f->process.n_args = 3;
}

static void make_rootfs(void)
{
	assert_int_equal(dir_make(ROOT "/bin", 0755), 0);
	assert_int_equal(dir_make(ROOT "/etc", 0755), 0);
	assert_int_equal(dir_make(ROOT "/tmp", 0777), 0);
	assert_int_equal(chmod(ROOT "/tmp", 01777), 0);
	assert_int_equal(dir_make(BUNDLE, 0755), 0);
	assert_int_equal(
		system("cp " BUSYBOX " " ROOT "/bin/busybox && " BUSYBOX " --install -s " ROOT "/bin 2>/dev/null;"
		       "for a in sh cat id ls sleep mount stty env pwd mknod ping true sed grep hostname tty head "
		       "umount kill dd touch; do ln -sf busybox " ROOT "/bin/$a; done"),
		0);
	assert_int_equal(file_replace(ROOT "/etc/passwd",
				      "root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n",
				      strlen("root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n"), 0644),
			 0);
	assert_int_equal(file_replace(ROOT "/etc/noexec", "x", 1, 0644), 0);
	assert_int_equal(file_replace(ROOT "/bin/garbage",
				      "\x7f"
				      "nonsense",
				      9, 0755),
			 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(mount("tmpfs", TOP, "tmpfs", 0, NULL), 0);
	make_rootfs();
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(reaper_new(f->loop, &f->reaper, NULL), 0);
	f->spec = (Grpc__Spec)GRPC__SPEC__INIT;
	f->process = (Grpc__Process)GRPC__PROCESS__INIT;
	f->user = (Grpc__User)GRPC__USER__INIT;
	f->root = (Grpc__Root)GRPC__ROOT__INIT;
	f->linux_ = (Grpc__Linux)GRPC__LINUX__INIT;
	f->caps = (Grpc__LinuxCapabilities)GRPC__LINUX_CAPABILITIES__INIT;
	f->hooks = (Grpc__Hooks)GRPC__HOOKS__INIT;
	f->rlimit = (Grpc__POSIXRlimit)GRPC__POSIXRLIMIT__INIT;
	f->rlimit_p[0] = &f->rlimit;
	f->spec.process = &f->process;
	f->spec.root = &f->root;
	f->spec.linux = &f->linux_;
	f->spec.mounts = f->mount_p;
	f->root.path = (char *)ROOT;
	f->process.cwd = (char *)"/";
	f->process.user = &f->user;
	f->process.capabilities = &f->caps;
	f->process.env = f->env;
	f->env[f->process.n_env++] = (char *)"PATH=/bin";
	f->linux_.namespaces = f->ns_p;
	add_ns(f, "mount");
	add_ns(f, "pid");
	add_ns(f, "uts");
	add_ns(f, "ipc");
	add_mount(f, "/proc", "proc", "proc", NULL, NULL);
	add_mount(f, "/dev", "tmpfs", "tmpfs", "nosuid,mode=755,size=65536k", NULL);
	add_mount(f, "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620", NULL);
	add_mount(f, "/dev/mqueue", "mqueue", "mqueue", NULL, NULL);
	f->fds_before = count_fds();
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	siginfo_t info;

	/* What a killed hook left behind comes to us by way of the reaper. */
	for (int i = 0; i < 200 && waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0; i++)
		loop_run_once(f->loop, 10);
	assert_int_equal(count_fds(), f->fds_before);
	assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT), -1); /* no child, dead or alive */
	reaper_free(f->reaper);
	loop_free(f->loop);
	free(f);
	/* Not lazily: a mount left behind would make it busy. */
	assert_int_equal(umount(TOP), 0);
	return 0;
}

static struct container_params params_of(struct fixture *f)
{
	return (struct container_params){ .id = "c1",
					  .spec = &f->spec,
					  .bundle = BUNDLE,
					  .uts_ns_fd = -1,
					  .ipc_ns_fd = -1,
					  .pid_ns_fd = -1,
					  .loop = f->loop,
					  .reaper = f->reaper,
					  .cgroup_root = TOP "/no-cgroup" };
}

/* ---- what is answered from the loop ---- */

struct started {
	bool done;
	int result;
	struct process *p;
	struct err e;
};

static void on_started(struct process *p, int result, const struct err *e, void *userdata)
{
	*(struct started *)userdata = (struct started){ true, result, p, *e };
}

static void await(struct fixture *f, struct started *s)
{
	for (uint64_t end = clock_ms() + 20000; !s->done && clock_ms() < end;)
		loop_run_once(f->loop, 100);
	assert_true(s->done);
	f->e = s->e;
}

static void on_created(struct container *c, int result, const struct err *e, void *userdata)
{
	*(struct started *)userdata = (struct started){ true, result, container_find_process(c, ""), *e };
}

static struct container *create_with(struct fixture *f, const struct container_params *params)
{
	struct started s = { 0 };
	struct container *c;

	f->e = (struct err){ 0 };
	if (container_create(params, on_created, &s, &c, &f->e) < 0)
		return NULL;
	await(f, &s);
	if (s.result == 0)
		return c;
	container_free(c);
	return NULL;
}

static struct container *create(struct fixture *f)
{
	struct container_params params = params_of(f);

	return create_with(f, &params);
}

static int start(struct fixture *f, struct container *c)
{
	struct started s = { 0 };
	int r = container_start(c, on_started, &s, &f->e);

	if (r < 0)
		return r;
	await(f, &s);
	return s.result;
}

static int exec(struct fixture *f, struct container *c, const char *id, const Grpc__Process *request,
		struct process **ret)
{
	struct started s = { 0 };
	int r = container_exec(c, id, request, on_started, &s, &f->e);

	*ret = NULL;
	if (r < 0)
		return r;
	await(f, &s);
	*ret = s.p;
	return s.result;
}

static void ended(struct process *p, int status, void *userdata)
{
	*(int *)userdata = status;
}

/* Read to the end, wait for the exit. */
static void drain(struct fixture *f, struct process *p)
{
	int fds[2] = { process_stdout_fd(p), process_stderr_fd(p) };
	char *to[2] = { f->out, f->err_out };
	size_t len[2] = { 0, 0 };
	uint64_t end = clock_ms() + 20000;

	f->status = -1;
	assert_int_equal(process_watch_exit(p, ended, &f->status, NULL), 0);
	while ((fds[0] >= 0 || fds[1] >= 0 || f->status < 0) && clock_ms() < end) {
		struct pollfd polled[2] = { { .fd = fds[0], .events = POLLIN }, { .fd = fds[1], .events = POLLIN } };

		poll(polled, 2, 20);
		for (int i = 0; i < 2; i++) {
			ssize_t n = polled[i].revents ? read(fds[i], to[i] + len[i], 65535 - len[i]) : -2;

			if (n > 0)
				len[i] += (size_t)n;
			else if (n != -2 && !(n < 0 && errno == EAGAIN))
				fds[i] = -1; /* the end; EIO on a terminal */
		}
		loop_run_once(f->loop, 0);
	}
	f->out[len[0]] = f->err_out[len[1]] = '\0';
	assert_true(f->status >= 0);
}

/* Create, start, wait, free. Output in f->out, f->err_out, exit status in f->status. */
static void run(struct fixture *f)
{
	struct container *c = create(f);

	if (!c)
		fail_msg("%s", f->e.text);
	if (start(f, c) < 0)
		fail_msg("%s", f->e.text);
	process_close_stdin(container_find_process(c, ""));
	drain(f, container_find_process(c, ""));
	container_free(c);
	if (f->status)
		print_message("status %d: %s%s\n", f->status, f->out, f->err_out);
}

/* Create or start must fail. Returns the code. */
static int run_fails(struct fixture *f)
{
	struct container *c = create(f);
	int r;

	if (!c)
		return -f->e.code;
	r = start(f, c);
	assert_true(r < 0);
	container_free(c);
	return r;
}

#define assert_output(f, text)                                                                                         \
	do {                                                                                                           \
		assert_int_equal((f)->status, 0);                                                                      \
		assert_string_equal((f)->out, text);                                                                   \
	} while (0)

/* ---- tests ---- */

static void runs_and_exits(void **state)
{
	struct fixture *f = *state;

	f->spec.hostname = (char *)"inside";
	sh(f, "echo out; echo err >&2; echo $$ $HOME $(hostname) $(pwd); ls /; exit 7");
	run(f);
	assert_int_equal(f->status, 7);
	assert_string_equal(f->out, "out\n1 /root inside /\nbin\ndev\netc\nproc\ntmp\n");
	assert_string_equal(f->err_out, "err\n");
}

static void signal_status(void **state)
{
	struct fixture *f = *state;

	sh(f, "sh -c 'kill -9 $$'; exit $?");
	run(f);
	assert_int_equal(f->status, 137);
}

static void no_descriptors_leak(void **state)
{
	struct fixture *f = *state;
	int leak = open("/dev/null", O_RDONLY); /* not close-on-exec */

	sh(f, "ls /proc/self/fd | grep -v 3 | sed 's/$/ /' ; readlink /proc/1/fd/3; true");
	run(f);
	assert_output(f, "0 \n1 \n2 \n");
	close(leak);
}

static void stdin_arrives(void **state)
{
	struct fixture *f = *state;
	struct container *c;
	struct process *p;

	sh(f, "cat");
	c = create(f);
	assert_non_null(c);
	assert_int_equal(start(f, c), 0);
	p = container_find_process(c, "c1");
	assert_int_equal(write(process_stdin_fd(p), "hello", 5), 5);
	assert_true(fcntl(process_stdin_fd(p), F_GETFL) & O_NONBLOCK);
	process_close_stdin(p);
	assert_int_equal(process_stdin_fd(p), -1);
	drain(f, p);
	assert_output(f, "hello");
	container_free(c);
}

static void terminal(void **state)
{
	struct fixture *f = *state;
	struct container *c;
	Grpc__Box size = GRPC__BOX__INIT;

	size.height = 33;
	size.width = 99;
	f->process.terminal = true;
	f->process.consolesize = &size;
	sh(f, "tty; stty size; [ -c /dev/console ] && echo console; read a; echo got $a; stty size; echo x >/dev/tty");
	c = create(f);
	if (!c)
		fail_msg("%s", f->e.text);
	assert_int_equal(process_stderr_fd(container_find_process(c, "")), -1);
	assert_int_equal(start(f, c), 0);
	assert_int_equal(process_resize(container_find_process(c, ""), 10, 20, &f->e), 0);
	assert_int_equal(write(process_stdin_fd(container_find_process(c, "")), "line\n", 5), 5);
	drain(f, container_find_process(c, ""));
	assert_int_equal(f->status, 0);
	assert_non_null(strstr(f->out, "/dev/pts/0"));
	assert_non_null(strstr(f->out, "console"));
	assert_non_null(strstr(f->out, "got line"));
	assert_non_null(strstr(f->out, "10 20"));
	container_free(c);
}

static void user_groups_home(void **state)
{
	struct fixture *f = *state;
	uint32_t groups[] = { 5, 2000 };

	f->user.uid = 1000;
	f->user.gid = 1001;
	f->user.additionalgids = groups;
	f->user.n_additionalgids = 2;
	f->process.cwd = (char *)"/work/sub";
	sh(f, "id -u; id -g; id -G; echo $HOME; pwd; umask; echo ok >/dev/stdout; grep Cap /proc/self/status");
	run(f);
	assert_output(f, "1000\n1001\n1001 5 2000\n/home/bob\n/work/sub\n0022\nok\n"
			 "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
			 "CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n");
}

static void umask_of_the_user(void **state)
{
	struct fixture *f = *state;

	f->user.umask = OCI_UMASK_GIVEN;
	sh(f, "umask");
	run(f);
	assert_output(f, "0000\n");
}

static void capabilities(void **state)
{
	struct fixture *f = *state;
	char *names[] = { (char *)"CAP_CHOWN", (char *)"CAP_NET_BIND_SERVICE", (char *)"CAP_NO_SUCH" };
	char *amb[] = { (char *)"CAP_NET_BIND_SERVICE" };

	f->user.uid = 1000;
	f->caps.bounding = f->caps.effective = f->caps.permitted = names;
	f->caps.n_bounding = f->caps.n_effective = f->caps.n_permitted = 3;
	f->caps.inheritable = f->caps.ambient = amb;
	f->caps.n_inheritable = f->caps.n_ambient = 1;
	f->process.nonewprivileges = true;
	sh(f, "grep -E 'Cap|NoNew' /proc/self/status");
	run(f);
	assert_output(f, "CapInh:\t0000000000000400\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\n"
			 "CapBnd:\t0000000000000401\nCapAmb:\t0000000000000400\nNoNewPrivs:\t1\n");
}

static void rlimits_and_oom_score(void **state)
{
	struct fixture *f = *state;

	f->rlimit.type = (char *)"RLIMIT_NOFILE";
	f->rlimit.soft = 77;
	f->rlimit.hard = 99;
	f->process.rlimits = f->rlimit_p;
	f->process.n_rlimits = 1;
	f->process.oomscoreadj = 321;
	sh(f, "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj");
	run(f);
	assert_output(f, "77\n99\n321\n");
	f->rlimit.type = (char *)"RLIMIT_NONSENSE";
	assert_int_equal(run_fails(f), -EINVAL);
}

static void exec_errors(void **state)
{
	struct fixture *f = *state;

	f->process.args = f->args;
	f->process.n_args = 1;
	f->args[0] = (char *)"nosuch";
	assert_int_equal(run_fails(f), -ENOENT);
	assert_non_null(strstr(f->e.text, "exec: \"nosuch\": executable file not found in $PATH"));
	f->args[0] = (char *)"/nosuch";
	assert_int_equal(run_fails(f), -ENOENT);
	f->args[0] = (char *)"/etc/noexec";
	assert_int_equal(run_fails(f), -EACCES);
	assert_non_null(strstr(f->e.text, "permission denied"));
	f->args[0] = (char *)"/etc";
	assert_int_equal(run_fails(f), -EACCES);
	f->args[0] = (char *)"garbage";
	assert_int_equal(run_fails(f), -ENOEXEC);
	assert_non_null(strstr(f->e.text, "exec format error"));
	f->process.n_args = 0;
	assert_int_equal(run_fails(f), -EINVAL);
}

static void mounts_and_readonly(void **state)
{
	struct fixture *f = *state;
	char *ro_paths[] = { (char *)"/proc/sys", (char *)"/nowhere" };
	char *masked[] = { (char *)"/proc/kcore", (char *)"/etc/secret", (char *)"/proc/acpi", (char *)"/secrets" };

	assert_int_equal(mkdir(TOP "/vol", 0755), 0);
	assert_int_equal(mkdir(ROOT "/secrets", 0755), 0);
	assert_int_equal(file_replace(ROOT "/secrets/a", "x", 1, 0644), 0);
	assert_int_equal(file_replace(ROOT "/etc/secret", "secret", 6, 0644), 0);
	assert_int_equal(file_replace(TOP "/vol/data", "content", 7, 0644), 0);
	add_mount(f, "/data/deep", "bind", TOP "/vol", "rbind", "ro");
	add_mount(f, "/one/file", "bind", TOP "/vol/data", "bind", "rprivate");
	add_mount(f, "/rw", "tmpfs", "tmpfs", "size=1m,noexec", "nodev");
	add_mount(f, "/rotmp", "tmpfs", "tmpfs", "ro", NULL);
	add_mount(f, "/rotmp/inner", "bind", TOP "/vol", "bind", NULL);
	add_mount(f, "/etc", "tmpfs", "tmpfs", "tmpcopyup", NULL);
	f->root.readonly = true;
	f->linux_.readonlypaths = ro_paths;
	f->linux_.n_readonlypaths = 2;
	f->linux_.maskedpaths = masked;
	f->linux_.n_maskedpaths = 4;
	sh(f, "cat /data/deep/data /one/file; echo; touch /rw/x && echo rw; touch /x 2>/dev/null || echo ro;"
	      "touch /data/deep/x 2>/dev/null || echo ro; touch /rotmp/x 2>/dev/null || echo ro; ls /rotmp/inner;"
	      "cat /etc/secret; ls /secrets; touch /secrets/x 2>/dev/null || echo ro; head -c1 /proc/kcore;"
	      "(echo 1 >/proc/sys/kernel/panic) 2>/dev/null || echo ro; touch /etc/new && head -n1 /etc/passwd;"
	      "grep ' /rw ' /proc/mounts | grep -o noexec");
	run(f);
	assert_output(f, "contentcontent\nrw\nro\nro\nro\ndata\nro\nro\nroot:x:0:0::/root:/bin/sh\nnoexec\n");
	assert_int_equal(access(ROOT "/etc/new", F_OK), -1);
}

/* Mounts travel as the options say: into the container by default, out of it with rshared. */
static void propagation(void **state)
{
	struct fixture *f = *state;
	char *all[] = { (char *)"CAP_SYS_ADMIN" };
	struct container *c;
	char *info;

	assert_int_equal(mkdir(TOP "/vol", 0755), 0);
	assert_int_equal(mount("tmpfs", TOP "/vol", "tmpfs", 0, NULL), 0);
	assert_int_equal(mount(NULL, TOP "/vol", NULL, MS_SHARED, NULL), 0);
	assert_int_equal(mkdir(TOP "/vol/in", 0755), 0);
	assert_int_equal(mkdir(TOP "/vol/out", 0755), 0);
	f->caps.bounding = f->caps.effective = f->caps.permitted = all;
	f->caps.n_bounding = f->caps.n_effective = f->caps.n_permitted = 1;
	add_mount(f, "/slave", "bind", TOP "/vol", "rbind", NULL);
	sh(f, "mount -t tmpfs x /slave/out; read line; grep -c /slave/in /proc/mounts; grep -c ' / .*shared' "
	      "/proc/self/mountinfo");
	c = create(f);
	assert_non_null(c);
	assert_int_equal(start(f, c), 0);
	assert_int_equal(mount("tmpfs", TOP "/vol/in", "tmpfs", 0, NULL), 0);
	assert_int_equal(write(process_stdin_fd(container_find_process(c, "")), "\n", 1), 1);
	drain(f, container_find_process(c, ""));
	assert_string_equal(f->out, "1\n0\n");
	container_free(c);
	assert_int_equal(umount(TOP "/vol/in"), 0);
	assert_int_equal(umount(TOP "/vol/out"), -1);

	f->linux_.rootfspropagation = (char *)"rshared";
	f->options[f->spec.n_mounts - 1][1] = (char *)"rshared";
	f->mount[f->spec.n_mounts - 1].n_options = 2;
	sh(f, "mount -t tmpfs x /slave/out");
	run(f);
	assert_int_equal(f->status, 0);
	assert_int_equal(file_read("/proc/self/mountinfo", 1 << 20, &info, NULL), 0);
	assert_non_null(strstr(info, TOP "/vol/out "));
	assert_null(strstr(info, ROOT)); /* of the container itself nothing came out */
	free(info);
	assert_int_equal(umount(TOP "/vol/out"), 0);
	assert_int_equal(umount(TOP "/vol"), 0);
}

/* Nodes on it do not open: as on what the host shares with the guest, and on the guest's own /run. */
static void forbid_nodes(const char *dir)
{
	assert_int_equal(mount(dir, dir, NULL, MS_BIND, NULL), 0);
	assert_int_equal(mount(NULL, dir, NULL, MS_BIND | MS_REMOUNT | MS_NODEV, NULL), 0);
}

static void devices(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxDevice d = GRPC__LINUX_DEVICE__INIT, *list[] = { &d };

	d.path = (char *)"/dev/sub/mine";
	d.type = (char *)"c";
	d.major = 1;
	d.minor = 5;
	d.filemode = S_IFCHR | 0644; /* podman sends the type along */
	d.uid = 3;
	d.gid = 4;
	f->linux_.devices = list;
	f->linux_.n_devices = 1;
	sh(f, "stat -c '%F %t:%T %a %u %g' /dev/sub/mine; head -c 3 /dev/sub/mine | wc -c; echo x >/dev/null;"
	      "readlink /dev/fd; readlink /dev/ptmx; stat -c %a /dev/null /dev/tty; stat -c %t:%T /dev/urandom");
	run(f);
	assert_output(f, "character special file 1:5 644 3 4\n3\n/proc/self/fd\npts/ptmx\n666\n666\n1:9\n");
}

static void devices_where_nodes_do_not_open(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxDevice d = GRPC__LINUX_DEVICE__INIT, *list[] = { &d };

	forbid_nodes(ROOT);
	forbid_nodes(BUNDLE);
	d.path = (char *)"/data/zero";
	d.type = (char *)"c";
	d.major = 1;
	d.minor = 5;
	d.filemode = 0640;
	d.gid = 4;
	f->linux_.devices = list;
	f->linux_.n_devices = 1;
	sh(f, "stat -c '%F %t:%T %a %u %g' /data/zero; head -c 3 /data/zero | wc -c");
	run(f);
	assert_output(f, "character special file 1:5 640 0 4\n3\n");
	assert_int_equal(access(BUNDLE "/.dev6", F_OK), -1);
	assert_int_equal(umount(BUNDLE), 0);
	assert_int_equal(umount(ROOT), 0);
}

/* As runc's, it has the devices of its kernel: what is there, and what is there once somebody opens it. */
static void devices_of_a_privileged_container(void **state)
{
	Grpc__LinuxDeviceCgroup none = GRPC__LINUX_DEVICE_CGROUP__INIT, all = GRPC__LINUX_DEVICE_CGROUP__INIT;
	Grpc__LinuxDeviceCgroup *rules[] = { &none, &all };
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;
	struct fixture *f = *state;

	none.access = all.access = (char *)"rwm";
	all.allow = true;
	res.devices = rules;
	res.n_devices = 2;
	f->linux_.resources = &res;
	assert_int_equal(mount("tmpfs", "/dev", "tmpfs", 0, NULL), 0);
	assert_int_equal(mkdir("/dev/sub", 0755), 0);
	assert_int_equal(mknod("/dev/sub/mine", S_IFCHR | 0640, makedev(1, 7)), 0);
	assert_int_equal(mknod("/dev/null", S_IFCHR | 0600, makedev(1, 3)), 0);
	assert_int_equal(mknod("/dev/tty7", S_IFCHR | 0600, makedev(4, 7)), 0);
	assert_int_equal(mkdir("/dev/shm", 0755), 0);
	assert_int_equal(mount("tmpfs", "/dev/shm", "tmpfs", 0, NULL), 0);
	assert_int_equal(mknod("/dev/shm/hidden", S_IFCHR | 0600, makedev(1, 3)), 0);
	sh(f, "stat -c '%n %F %t:%T %a' /dev/sub/mine /dev/null /dev/net/tun /dev/loop7; ls /dev/shm /dev/tty7 "
	      "2>/dev/null; :");
	run(f);
	assert_int_equal(umount("/dev/shm"), 0);
	assert_int_equal(umount2("/dev", MNT_DETACH), 0);
	assert_output(f, "/dev/sub/mine character special file 1:7 640\n"
			 "/dev/null character special file 1:3 666\n"
			 "/dev/net/tun character special file a:c8 666\n"
			 "/dev/loop7 block special file 7:7 660\n");
}

/* An image full of links that point out of it must not make us touch anything outside. */
static void hostile_rootfs(void **state)
{
	struct fixture *f = *state;
	char *masked[] = { (char *)"/evil-mask/x" };
	Grpc__LinuxDevice d = GRPC__LINUX_DEVICE__INIT, *list[] = { &d };

	assert_int_equal(mkdir(TOP "/outside", 0755), 0);
	assert_int_equal(file_replace(TOP "/outside/x", "precious", 8, 0644), 0);
	assert_int_equal(symlink(TOP "/outside", ROOT "/evil"), 0);
	assert_int_equal(symlink("../../../../../../../.." TOP "/outside", ROOT "/evil2"), 0);
	assert_int_equal(symlink(TOP "/outside", ROOT "/evil-mask"), 0);
	assert_int_equal(symlink("/proc/1/root" TOP "/outside", ROOT "/evil3"), 0);
	assert_int_equal(symlink("loop2", ROOT "/loop1"), 0);
	assert_int_equal(symlink("loop1", ROOT "/loop2"), 0);
	assert_int_equal(symlink(TOP "/outside/newfile", ROOT "/evil-file"), 0);
	add_mount(f, "/evil/a", "tmpfs", "tmpfs", NULL, NULL);
	add_mount(f, "/evil2/b", "tmpfs", "tmpfs", NULL, NULL);
	add_mount(f, "/../../c", "tmpfs", "tmpfs", NULL, NULL);
	add_mount(f, "/evil-file", "bind", TOP "/outside/x", "bind", NULL);
	d.path = (char *)"/evil/dev";
	d.type = (char *)"c";
	d.major = 1;
	d.minor = 3;
	f->linux_.devices = list;
	f->linux_.n_devices = 1;
	f->linux_.maskedpaths = masked;
	f->linux_.n_maskedpaths = 1;
	f->process.cwd = (char *)"/evil/cwd";
	sh(f, "cat /evil-file; ls /mnt/outside /c");
	run(f);
	assert_output(f, "precious/c:\n\n/mnt/outside:\na\nb\ncwd\ndev\nnewfile\n");
	assert_int_equal(access(TOP "/outside/a", F_OK), -1);
	assert_int_equal(access(TOP "/outside/b", F_OK), -1);
	assert_int_equal(access(TOP "/outside/dev", F_OK), -1);
	assert_int_equal(access(TOP "/outside/cwd", F_OK), -1);
	assert_int_equal(access(TOP "/outside/newfile", F_OK), -1);
	add_mount(f, "/loop1/x", "tmpfs", "tmpfs", NULL, NULL);
	assert_int_equal(run_fails(f), -ELOOP);
}

static void the_agents_files_are_gone(void **state)
{
	struct fixture *f = *state;
	char *all[] = { (char *)"CAP_SYS_ADMIN", (char *)"CAP_SYS_CHROOT" };

	f->caps.bounding = f->caps.effective = f->caps.permitted = all;
	f->caps.n_bounding = f->caps.n_effective = f->caps.n_permitted = 2;
	/* The classic way out of a chroot finds only the root again. */
	sh(f, "mkdir -p /tmp/j/bin; cp /bin/busybox /tmp/j/bin/; cd /; grep -c " TOP " /proc/self/mountinfo;"
	      "ls -d /../../../../usr/lib 2>/dev/null; [ -e /proc/1/root/usr/lib ] || echo none");
	for (int i = 0; i < 1; i++)
		run(f);
	assert_non_null(strstr(f->out, "none\n"));
	assert_null(strstr(f->out, "usr/lib"));
}

static struct container *sleeping(struct fixture *f)
{
	struct container *c;

	sh(f, "echo up; exec sleep 1000");
	c = create(f);
	if (!c)
		fail_msg("%s", f->e.text);
	assert_int_equal(start(f, c), 0);
	return c;
}

static void exec_joins(void **state)
{
	struct fixture *f = *state;
	struct container *c = sleeping(f);
	struct process *p;
	Grpc__Process request = GRPC__PROCESS__INIT;
	Grpc__User user = GRPC__USER__INIT;
	char *args[] = { (char *)"sh", (char *)"-c",
			 (char *)"id -u; echo $V $HOME; ls /; for n in mnt pid uts ipc; do "
				 "[ $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n 2>/dev/null || "
				 "readlink /proc/self/ns/$n) ] || echo differs $n; done; cat /proc/1/comm; ls "
				 "/proc/self/fd | grep -c ." };
	/* An empty HOME is none (as with runc). */
	char *env[] = { (char *)"PATH=/bin", (char *)"V=w", (char *)"HOME=" };

	user.uid = 1000;
	request.user = &user;
	request.args = args;
	request.n_args = 3;
	request.env = env;
	request.n_env = 3;
	if (exec(f, c, "e1", &request, &p) < 0)
		fail_msg("%s", f->e.text);
	assert_ptr_equal(container_find_process(c, "e1"), p);
	drain(f, p);
	assert_output(f, "1000\nw /home/bob\nbin\ndev\netc\nproc\ntmp\nsleep\n4\n");
	container_forget_process(c, p);
	assert_null(container_find_process(c, "e1"));

	args[0] = (char *)"nosuch";
	assert_int_equal(exec(f, c, "e2", &request, &p), -ENOENT);
	assert_null(container_find_process(c, "e2"));

	args[0] = (char *)"sh";
	args[2] = (char *)"tty; exit 3";
	request.terminal = true;
	if (exec(f, c, "e3", &request, &p) < 0)
		fail_msg("%s", f->e.text);
	drain(f, p);
	assert_int_equal(f->status, 3);
	assert_string_equal(f->out, "/dev/pts/0\r\n");
	container_free(c);
}

/* A tmpfs has the mode of what it covers, unless it is given one; over nothing, that of a temporary folder. */
static void tmpfs_modes(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkdir(ROOT "/closed", 0710), 0);
	assert_int_equal(mkdir(ROOT "/told", 0710), 0);
	add_mount(f, "/closed", "tmpfs", "tmpfs", NULL, NULL);
	add_mount(f, "/told", "tmpfs", "tmpfs", "mode=1500", NULL);
	add_mount(f, "/none", "tmpfs", "tmpfs", NULL, NULL);
	sh(f, "stat -c %a /closed /told /none");
	run(f);
	assert_output(f, "710\n1500\n1777\n");
	assert_int_equal(rmdir(ROOT "/none"), 0);
}

static void proc_behind_a_link(void **state)
{
	struct fixture *f = *state;

	(void)rmdir(ROOT "/proc");
	assert_int_equal(symlink("/elsewhere", ROOT "/proc"), 0);
	sh(f, "true");
	assert_int_equal(run_fails(f), -ENOTDIR);
	assert_string_equal(f->e.text,
			    "create container c1: filesystem \"proc\" must be mounted on ordinary directory");
}

static void exec_before_start(void **state)
{
	struct fixture *f = *state;
	Grpc__Process request = GRPC__PROCESS__INIT;
	char *args[] = { (char *)"sh", (char *)"-c", (char *)"echo early >/tmp/early; cat /tmp/early" };
	char *env[] = { (char *)"PATH=/bin" };
	struct container *c;
	struct process *p;

	sh(f, "cat /tmp/early");
	c = create(f);
	assert_non_null(c);
	request.args = args;
	request.n_args = 3;
	request.env = env;
	request.n_env = 1;
	if (exec(f, c, "e1", &request, &p) < 0)
		fail_msg("%s", f->e.text);
	drain(f, p);
	assert_output(f, "early\n");
	assert_int_equal(start(f, c), 0);
	drain(f, container_find_process(c, ""));
	assert_output(f, "early\n");
	container_free(c);
}

/* CVE-2024-21626: a working directory that is a link to what only the agent or somebody else's process has open. */
static void exec_stays_inside(void **state)
{
	struct fixture *f = *state;
	struct container_params params = params_of(f);
	struct container *c = sleeping(f), *other;
	struct process *p;
	Grpc__Process request = GRPC__PROCESS__INIT;
	char *args[] = { (char *)"/bin/true" }, link[64];
	int leak = open(TOP, O_RDONLY | O_DIRECTORY | O_CLOEXEC), pid_ns;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", leak);
	assert_int_equal(symlink(link, ROOT "/work"), 0);
	request.args = args;
	request.n_args = 1;
	request.cwd = (char *)"/work";
	assert_int_equal(exec(f, c, "e1", &request, &p), -ENOENT); /* there is no such descriptor */
	close(leak);

	/* Beside it, with its processes but a root of its own. */
	snprintf(link, sizeof(link), "/proc/%d/ns/pid", process_pid(container_find_process(c, "")));
	pid_ns = open(link, O_RDONLY | O_CLOEXEC);
	params.id = "c2";
	params.pid_ns_fd = pid_ns;
	other = create_with(f, &params);
	if (!other || start(f, other) < 0)
		fail_msg("%s", f->e.text);
	request.cwd = (char *)"/proc/1/root/tmp";
	assert_int_equal(exec(f, other, "e1", &request, &p), -EPERM);
	assert_non_null(strstr(f->e.text, "outside of the container"));
	container_free(other);
	close(pid_ns);
	container_free(c);
}

static void init_death_ends_all(void **state)
{
	struct fixture *f = *state;
	struct container *c = sleeping(f);
	struct process *p;
	Grpc__Process request = GRPC__PROCESS__INIT;
	char *args[] = { (char *)"/bin/sleep", (char *)"1000" };

	request.args = args;
	request.n_args = 2;
	assert_int_equal(exec(f, c, "e1", &request, &p), 0);
	assert_int_equal(process_signal(container_find_process(c, ""), SIGKILL, &f->e), 0);
	drain(f, p);
	assert_int_equal(f->status, 137);
	drain(f, container_find_process(c, ""));
	assert_int_equal(f->status, 137);
	assert_true(process_exited(container_find_process(c, "")));
	assert_int_equal(process_signal(p, SIGTERM, NULL), -ESRCH);
	assert_int_equal(exec(f, c, "e2", &request, &p), -ESRCH);
	container_free(c);
}

/* PID 1 of a namespace that has SIGTERM blocked and no handler, and does this. */
static pid_t run_waiter(void (*wait)(const sigset_t *set))
{
	sigset_t waited;
	pid_t pid;
	int pair[2];
	char ready;

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	sigemptyset(&waited);
	sigaddset(&waited, SIGTERM);
	pid = clone_process(CLONE_NEWPID, -1);
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &waited, NULL);
		signal(SIGUSR1, SIG_DFL);
		if (write(pair[1], "r", 1) == 1)
			wait(&waited);
		_exit(1);
	}
	assert_true(pid > 0);
	assert_int_equal(read(pair[0], &ready, 1), 1);
	close(pair[0]);
	close(pair[1]);
	return pid;
}

static void wait_elsewhere(const sigset_t *set)
{
	pause();
}

static void wait_here(const sigset_t *set)
{
	siginfo_t info;

	sigwaitinfo(set, &info);
}

/* As catatonit and systemd wait, and as tini does, of which the kernel does not tell that it has the signal blocked. */
static void signal_is_noticed_when_blocked(void **state)
{
	pid_t pid;

	(void)state;
	pid = run_waiter(wait_elsewhere);
	assert_true(signal_is_noticed(pid, SIGTERM));
	assert_false(signal_is_noticed(pid, SIGUSR1));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	pid = run_waiter(wait_here);
	/* Asked while it begins to wait, too. */
	for (int i = 0; i < 100; i++) {
		assert_true(signal_is_noticed(pid, SIGTERM));
		usleep(100);
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(signal_is_noticed(getpid(), SIGUSR1)); /* not PID 1 of its own */
}

/*
 * What holds a process up at the very moment of its exec, as its container can: whoever opens the file waits until the
 * lease is given up, or for lease-break-time (45 s). fcntl(2).
 */
static int lease_program(void)
{
	int fd;

	assert_int_equal(system("mkdir -p " ROOT "/slow && cp " BUSYBOX " " ROOT "/slow/true"), 0);
	fd = open(ROOT "/slow/true", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	signal(SIGIO, SIG_IGN);
	assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
	return fd;
}

static void wait_for_opener(struct fixture *f, int lease)
{
	for (uint64_t end = clock_ms() + 20000; fcntl(lease, F_GETLEASE) == F_WRLCK && clock_ms() < end;)
		loop_run_once(f->loop, 10);
	assert_int_not_equal(fcntl(lease, F_GETLEASE), F_WRLCK);
}

/* An exec that is held up holds nobody else up, keeps its id, and can be killed. */
static void exec_that_does_not_come(void **state)
{
	struct fixture *f = *state;
	struct container *c = sleeping(f);
	int lease = lease_program();
	struct started slow = { 0 };
	Grpc__Process request = GRPC__PROCESS__INIT, held = GRPC__PROCESS__INIT;
	char *args[] = { (char *)"/bin/true" }, *held_args[] = { (char *)"/slow/true" };
	struct process *p;

	held.args = held_args;
	request.args = args;
	held.n_args = request.n_args = 1;
	assert_int_equal(container_exec(c, "e1", &held, on_started, &slow, &f->e), 0);
	wait_for_opener(f, lease);
	assert_int_equal(exec(f, c, "e1", &request, &p), -EEXIST);
	assert_int_equal(exec(f, c, "e2", &request, &p), 0);
	drain(f, p);
	assert_int_equal(f->status, 0);
	assert_false(slow.done);
	/* All was ready: what comes then is told by the exit status. */
	assert_int_equal(process_signal(container_find_process(c, "e1"), SIGKILL, &f->e), 0);
	await(f, &slow);
	assert_int_equal(slow.result, 0);
	drain(f, slow.p);
	assert_int_equal(f->status, 137);
	container_forget_process(c, slow.p);

	/* A signal that comes before there is a pid. */
	slow.done = false;
	assert_int_equal(container_exec(c, "e1", &request, on_started, &slow, &f->e), 0);
	assert_int_equal(process_signal(container_find_process(c, "e1"), SIGKILL, &f->e), 0);
	await(f, &slow);
	assert_int_equal(slow.result, -ECHILD);
	assert_null(container_find_process(c, "e1"));

	/* The container goes under it. */
	slow.done = false;
	assert_int_equal(container_exec(c, "e1", &held, on_started, &slow, &f->e), 0);
	wait_for_opener(f, lease);
	container_free(c);
	assert_true(slow.done);
	assert_int_equal(slow.result, -ESRCH);
	close(lease);
}

static void setup_takes_too_long(void **state)
{
	struct fixture *f = *state;
	struct container_params params = params_of(f);
	int lease = lease_program();
	struct started slow = { 0 };
	struct container *c;
	Grpc__Process held = GRPC__PROCESS__INIT;
	char *args[] = { (char *)"/slow/true" };

	held.args = args;
	held.n_args = 1;
	params.setup_timeout_ms = 3000;
	sh(f, "exec sleep 1000");
	c = create_with(f, &params);
	if (!c)
		fail_msg("%s", f->e.text);
	assert_int_equal(start(f, c), 0);
	assert_int_equal(container_exec(c, "e1", &held, on_started, &slow, &f->e), 0);
	await(f, &slow);
	assert_int_equal(slow.result, -ETIMEDOUT);
	assert_non_null(strstr(slow.e.text, "was not ready within 3000 ms"));
	assert_null(container_find_process(c, "e1"));
	/* It is killed: nobody waits for the lease any more, and tear_down() finds no child. */
	container_free(c);
	close(lease);
}

/* The same for a container's start. */
static void start_that_does_not_come(void **state)
{
	struct fixture *f = *state;
	int lease = lease_program();
	struct started slow = { 0 };
	struct container *c;

	f->process.args = f->args;
	f->process.n_args = 1;
	f->args[0] = (char *)"/slow/true";
	c = create(f);
	assert_non_null(c);
	assert_int_equal(container_start(c, on_started, &slow, &f->e), 0);
	wait_for_opener(f, lease);
	assert_false(slow.done);
	assert_int_equal(container_start(c, on_started, &slow, &f->e), -EBUSY);
	assert_int_equal(fcntl(lease, F_SETLEASE, F_UNLCK), 0);
	await(f, &slow);
	assert_int_equal(slow.result, 0);
	drain(f, slow.p);
	assert_int_equal(f->status, 0);
	container_free(c);

	assert_int_equal(fcntl(lease, F_SETLEASE, F_WRLCK), 0);
	slow.done = false;
	c = create(f);
	assert_non_null(c);
	assert_int_equal(container_start(c, on_started, &slow, &f->e), 0);
	wait_for_opener(f, lease);
	container_free(c);
	assert_true(slow.done);
	assert_int_equal(slow.result, -ESRCH);
	close(lease);
}

/* The stage of an exec may end after what it made, and is buried by the loop. */
static void nobody_left(struct fixture *f)
{
	uint64_t end = clock_ms() + 20000;
	siginfo_t info;

	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && clock_ms() < end)
		loop_run_once(f->loop, 10);
	assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT), -1);
}

static void free_in_every_state(void **state)
{
	struct fixture *f = *state;
	Grpc__Process request = GRPC__PROCESS__INIT;
	char *args[] = { (char *)"/bin/sleep", (char *)"1000" };
	struct container *c;
	struct process *p;

	container_free(NULL);
	sh(f, "exit 0");
	c = create(f);
	assert_non_null(c);
	container_free(c); /* created, never started */
	container_free(sleeping(f));
	/* Init ends when the last of its namespace is buried, which an exec is by us. */
	c = sleeping(f);
	request.args = args;
	request.n_args = 2;
	assert_int_equal(exec(f, c, "e1", &request, &p), 0);
	container_free(c);
	nobody_left(f);
}

static void hook_at(struct fixture *f, size_t i, const char *script, char **args)
{
	f->hook[i] = (Grpc__Hook)GRPC__HOOK__INIT;
	f->hook[i].path = (char *)"/bin/sh";
	args[0] = (char *)"sh";
	args[1] = (char *)"-c";
	args[2] = (char *)script;
	f->hook[i].args = args;
	f->hook[i].n_args = 3;
	f->hook_p[i] = &f->hook[i];
}

/* Hooks that take their time hold nobody else up, and end with the container. */
static void slow_hooks(void **state)
{
	struct fixture *f = *state;
	struct container *c = sleeping(f), *slow;
	struct container_params params = params_of(f);
	Grpc__Process request = GRPC__PROCESS__INIT;
	char *args[] = { (char *)"/bin/true" }, *hook_args[3];
	struct started s = { 0 };
	struct process *p;

	request.args = args;
	request.n_args = 1;
	params.id = "c2";
	hook_at(f, 0, "echo >" TOP "/begun; exec sleep 1000", hook_args);
	f->spec.hooks = &f->hooks;
	f->hooks.createruntime = f->hook_p;
	f->hooks.n_createruntime = 1;
	for (int killed = 0; killed < 2; killed++) {
		s.done = false;
		assert_int_equal(container_create(&params, on_created, &s, &slow, &f->e), 0);
		while (access(TOP "/begun", F_OK) < 0)
			loop_run_once(f->loop, 10);
		assert_int_equal(unlink(TOP "/begun"), 0);
		assert_int_equal(exec(f, c, "e1", &request, &p), 0);
		drain(f, p);
		container_forget_process(c, p);
		assert_false(s.done);
		if (killed) {
			assert_int_equal(process_signal(container_find_process(slow, ""), SIGKILL, &f->e), 0);
			await(f, &s);
			assert_int_equal(s.result, -ECHILD);
			container_free(slow);
		} else {
			container_free(slow);
			assert_true(s.done);
			assert_int_equal(s.result, -ESRCH);
		}
	}

	f->hooks.n_createruntime = 0;
	f->hooks.poststart = f->hook_p;
	f->hooks.n_poststart = 1;
	slow = create_with(f, &params);
	assert_non_null(slow);
	s.done = false;
	assert_int_equal(container_start(slow, on_started, &s, &f->e), 0);
	while (access(TOP "/begun", F_OK) < 0)
		loop_run_once(f->loop, 10);
	assert_int_equal(exec(f, slow, "e1", &request, &p), 0);
	drain(f, p);
	assert_int_equal(f->status, 0);
	assert_false(s.done);
	container_free(slow);
	assert_true(s.done);
	container_free(c);
}

/* An init that others in its PID namespace stop: told here by a hook when there is one. */
static void creation_takes_too_long(void **state)
{
	struct fixture *f = *state;
	struct container_params params = params_of(f);
	struct started s = { 0 };
	struct container *c;
	char *args[3], path[64];

	params.setup_timeout_ms = 1000;
	hook_at(f, 0, "sed 's/.*\"pid\":\\([0-9]*\\).*/kill -STOP \\1/' | sh", args);
	f->spec.hooks = &f->hooks;
	f->hooks.prestart = f->hook_p;
	f->hooks.n_prestart = 1;
	sh(f, "exec sleep 1000");
	assert_int_equal(container_create(&params, on_created, &s, &c, &f->e), 0);
	await(f, &s);
	assert_int_equal(s.result, -ETIMEDOUT);
	assert_string_equal(s.e.text,
			    "create container c1: the new process was not ready within 1000 ms: it is killed");
	snprintf(path, sizeof(path), "/proc/%d/exe", process_pid(s.p));
	container_free(c);
	assert_int_equal(access(path, F_OK), -1);

	/* The time that its hooks take is not its own. */
	hook_at(f, 0, "exec sleep 2", args);
	sh(f, "true");
	run(f);
}

static void hooks_run_in_order(void **state)
{
	struct fixture *f = *state;
	char *args[6][3], *log = NULL;

	hook_at(f, 0, "echo prestart >>" TOP "/log; cat >" TOP "/state", args[0]);
	hook_at(f, 1, "echo createRuntime >>" TOP "/log", args[1]);
	hook_at(f, 2, "echo createContainer >>" TOP "/log; [ -e " ROOT "/proc/self ] && echo mounted >>" TOP "/log",
		args[2]);
	/* With the process's environment, in which the last value of a name counts. */
	hook_at(f, 3, "echo startContainer; echo inside $OWN >/tmp/inside", args[3]);
	f->env[f->process.n_env++] = (char *)"OWN=1";
	f->env[f->process.n_env++] = (char *)"OWN=2";
	hook_at(f, 4, "echo poststart >>" TOP "/log; exit 1", args[4]);
	hook_at(f, 5, "echo poststop >>" TOP "/log", args[5]);
	f->spec.hooks = &f->hooks;
	f->hooks.prestart = &f->hook_p[0];
	f->hooks.createruntime = &f->hook_p[1];
	f->hooks.createcontainer = &f->hook_p[2];
	f->hooks.startcontainer = &f->hook_p[3];
	f->hooks.poststart = &f->hook_p[4];
	f->hooks.poststop = &f->hook_p[5];
	f->hooks.n_prestart = f->hooks.n_createruntime = f->hooks.n_createcontainer = 1;
	f->hooks.n_startcontainer = f->hooks.n_poststart = f->hooks.n_poststop = 1;
	sh(f, "cat /tmp/inside; env | grep OWN");
	run(f);
	assert_output(f, "inside 2\nOWN=2\n");
	assert_int_equal(file_read(TOP "/log", 4096, &log, NULL), 0);
	assert_string_equal(log, "prestart\ncreateRuntime\ncreateContainer\nmounted\npoststart\npoststop\n");
	free(log);
	assert_int_equal(file_read(TOP "/state", 4096, &log, NULL), 0);
	assert_non_null(strstr(log, "\"id\":\"c1\",\"status\":\"creating\",\"bundle\":\"" BUNDLE "\""));
	free(log);

	hook_at(f, 1, "exit 3", args[1]);
	assert_int_equal(run_fails(f), -ECANCELED);
	assert_string_equal(f->e.text, "create container c1: createRuntime hook /bin/sh: exit status 3");
	hook_at(f, 1, "sleep 100", args[1]);
	f->hook[1].timeout = 1;
	assert_int_equal(run_fails(f), -ETIMEDOUT);
}

static void seccomp_filters(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxSeccomp s = GRPC__LINUX_SECCOMP__INIT;
	Grpc__LinuxSyscall call = GRPC__LINUX_SYSCALL__INIT, *calls[] = { &call };
	char *names[] = { (char *)"mkdir", (char *)"mkdirat", (char *)"no_such_call" };

	s.defaultaction = (char *)"SCMP_ACT_ALLOW";
	call.names = names;
	call.n_names = 3;
	call.action = (char *)"SCMP_ACT_ERRNO";
	call.errnoret = 95;
	s.syscalls = calls;
	s.n_syscalls = 1;
	f->linux_.seccomp = &s;
	sh(f, "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status");
	run(f);
	assert_output(f, "mkdir: can't create directory '/tmp/x': Operation not supported\nSeccomp:\t2\n");
	call.action = (char *)"SCMP_ACT_WHAT";
	assert_int_equal(run_fails(f), -EINVAL);
}

/* CRI-O 1.37 gives a sandbox without a PID namespace a profile without faccessat2(2). */
static void seccomp_older_than_us(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxSeccomp s = GRPC__LINUX_SECCOMP__INIT;
	Grpc__LinuxSyscall rule = GRPC__LINUX_SYSCALL__INIT, *rules[] = { &rule };
	char *names[] = { (char *)"faccessat2" };

	rule.names = names;
	rule.n_names = 1;
	rule.action = (char *)"SCMP_ACT_ERRNO";
	s.defaultaction = (char *)"SCMP_ACT_ALLOW";
	s.syscalls = rules;
	s.n_syscalls = 1;
	f->linux_.seccomp = &s;
	sh(f, "echo runs");
	run(f);
	assert_output(f, "runs\n");
	f->process.args = f->args;
	f->process.n_args = 1;
	f->args[0] = (char *)"/etc/noexec";
	assert_int_equal(run_fails(f), -EACCES);
}

static void user_namespace(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxIDMapping map = GRPC__LINUX_IDMAPPING__INIT, *maps[] = { &map };

	map.containerid = 0;
	map.hostid = 100000;
	map.size = 65536;
	f->linux_.uidmappings = f->linux_.gidmappings = maps;
	f->linux_.n_uidmappings = f->linux_.n_gidmappings = 1;
	add_ns(f, "user");
	add_mount(f, "/sys", "sysfs", "sysfs", "ro", NULL); /* not ours to make: bound */
	forbid_nodes(BUNDLE);
	/* Whoever uses a user namespace gives the image to its root. */
	assert_int_equal(system("chown -hR 100000:100000 " ROOT), 0);
	sh(f, "id -u; cat /proc/self/uid_map | sed 's/  */ /g'; echo x >/dev/null && echo null; [ -d /sys/kernel ] && "
	      "echo sys; stat -c %u /bin "
	      "/dev/null");
	run(f);
	assert_output(f, "0\n 0 100000 65536\nnull\nsys\n0\n65534\n");
	assert_int_equal(umount(BUNDLE), 0);
}

/* The network is the machine's, of which the user namespace's root may change nothing. */
static void user_namespace_and_sysctl(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxIDMapping map = GRPC__LINUX_IDMAPPING__INIT, *maps[] = { &map };
	Grpc__Linux__SysctlEntry ping = GRPC__LINUX__SYSCTL_ENTRY__INIT, queues = GRPC__LINUX__SYSCTL_ENTRY__INIT,
				 *entries[] = { &ping, &queues };
	int before = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(before >= 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	map.hostid = 100000;
	map.size = 1000;
	f->linux_.uidmappings = f->linux_.gidmappings = maps;
	f->linux_.n_uidmappings = f->linux_.n_gidmappings = 1;
	add_ns(f, "user");
	ping.key = (char *)"net.ipv4.ping_group_range";
	ping.value = (char *)"5 2147483647";
	queues.key = (char *)"fs.mqueue.msg_max";
	queues.value = (char *)"7";
	f->linux_.sysctl = entries;
	f->linux_.n_sysctl = 2;
	assert_int_equal(system("chown -hR 100000:100000 " ROOT), 0);
	sh(f, "cat /proc/sys/fs/mqueue/msg_max");
	run(f);
	assert_output(f, "7\n");
	assert_int_equal(system("grep -q '^100005[[:space:]]100999$' /proc/sys/net/ipv4/ping_group_range"), 0);
	assert_int_equal(setns(before, CLONE_NEWNET), 0);
	close(before);
}

/* In a pod, whose IPC namespace is not the user namespace's. */
static void user_namespace_in_a_sandbox(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxIDMapping map = GRPC__LINUX_IDMAPPING__INIT, *maps[] = { &map };
	struct container_params p = params_of(f);
	struct container *c, *pod = sleeping(f);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/ipc", process_pid(container_find_process(pod, "")));
	p.id = "c2";
	p.ipc_ns_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(p.ipc_ns_fd >= 0);
	map.hostid = 100000;
	map.size = 65536;
	f->linux_.uidmappings = f->linux_.gidmappings = maps;
	f->linux_.n_uidmappings = f->linux_.n_gidmappings = 1;
	add_ns(f, "user");
	assert_int_equal(system("chown -hR 100000:100000 " ROOT), 0);
	sh(f, "id -u; grep -o ' /dev/mqueue mqueue' /proc/mounts");
	c = create_with(f, &p);
	if (!c)
		fail_msg("%s", f->e.text);
	assert_int_equal(start(f, c), 0);
	drain(f, container_find_process(c, ""));
	assert_output(f, "0\n /dev/mqueue mqueue\n");
	container_free(c);
	close(p.ipc_ns_fd);
	container_free(pod);
}

static void sandbox_namespaces(void **state)
{
	struct fixture *f = *state;
	struct container_params p = params_of(f);
	struct container *c, *pod = sleeping(f);
	char path[64], *ns[3] = { (char *)"uts", (char *)"ipc", (char *)"pid" };
	int fds[3];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", process_pid(container_find_process(pod, "")), ns[i]);
		fds[i] = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fds[i] >= 0);
	}
	p.id = "c2";
	p.uts_ns_fd = fds[0];
	p.ipc_ns_fd = fds[1];
	p.pid_ns_fd = fds[2];
	/* The first process becomes sleep(1) in its own time. */
	sh(f, "[ $$ != 1 ] && until grep -qx sleep /proc/1/comm; do :; done; cat /proc/1/comm");
	c = create_with(f, &p);
	if (!c)
		fail_msg("%s", f->e.text);
	assert_int_equal(start(f, c), 0);
	drain(f, container_find_process(c, ""));
	assert_output(f, "sleep\n");
	container_free(c);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	container_free(pod);
}

static void network_namespace_and_sysctl(void **state)
{
	struct fixture *f = *state;
	Grpc__Linux__SysctlEntry entry = GRPC__LINUX__SYSCTL_ENTRY__INIT, *entries[] = { &entry };

	entry.key = (char *)"net.ipv4.ip_forward";
	entry.value = (char *)"1";
	f->linux_.sysctl = entries;
	f->linux_.n_sysctl = 1;
	add_ns(f, "network");
	sh(f, "cat /proc/sys/net/ipv4/ip_forward; grep -c 127.0.0.1 /proc/net/fib_trie >/dev/null && echo lo");
	run(f);
	assert_output(f, "1\nlo\n");
	entry.key = (char *)"no.such.thing";
	assert_int_equal(run_fails(f), -ENOENT);
}

struct told {
	int ooms, at_end;
};

static void on_oom(struct container *c, void *userdata)
{
	((struct told *)userdata)->ooms++;
}

static void ended_after(struct process *p, int status, void *userdata)
{
	((struct told *)userdata)->at_end = ((struct told *)userdata)->ooms;
}

static void put_events(const char *text)
{
	assert_int_equal(file_replace(TOP "/cg/x/memory.events", text, strlen(text), 0644), 0);
}

/* The count has grown, and the kernel's notice has not been heard (of a new file, here): it is told before the end. */
static void oom_comes_before_the_end(void **state)
{
	struct fixture *f = *state;
	struct told told = { .at_end = -1 };
	struct cgroup *none;
	struct container *c;

	sh(f, "true");
	c = create(f);
	assert_non_null(c);
	none = c->cgroup;
	assert_int_equal(dir_make(TOP "/cg/x", 0755), 0);
	assert_int_equal(file_replace(TOP "/cg/cgroup.controllers", "", 0, 0644), 0);
	put_events("oom 0\noom_kill 0\n");
	assert_int_equal(cgroup_create(TOP "/cg", "/x", &c->cgroup, &f->e), 0);
	c->oom.fd = cgroup_watch_memory(c->cgroup);
	assert_true(c->oom.fd >= 0);
	container_on_oom(c, on_oom, &told);
	put_events("oom 1\noom_kill 1\n");
	assert_int_equal(process_watch_exit(container_find_process(c, ""), ended_after, &told, NULL), 0);
	assert_int_equal(start(f, c), 0);
	drain(f, container_find_process(c, ""));
	assert_int_equal(told.ooms, 1);
	assert_int_equal(told.at_end, 1);
	container_free(c);
	cgroup_free(none);
}

static void bad_specs(void **state)
{
	struct fixture *f = *state;
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxMemory memory = GRPC__LINUX_MEMORY__INIT;

	sh(f, "true");
	f->ns[1].type = (char *)"bogus";
	assert_int_equal(run_fails(f), -EINVAL);
	f->ns[1].type = (char *)"mount";
	assert_int_equal(run_fails(f), -EINVAL);
	f->ns[1].type = (char *)"pid";
	f->ns[1].path = (char *)"/nonexistent";
	assert_int_equal(run_fails(f), -ENOENT);
	f->ns[1].path = (char *)"";
	f->root.path = (char *)TOP "/nowhere";
	assert_int_equal(run_fails(f), -ENOENT);
	f->root.path = (char *)ROOT;
	f->process.selinuxlabel = (char *)"system_u:system_r:container_t:s0";
	assert_int_equal(run_fails(f), -EOPNOTSUPP);
	assert_non_null(strstr(f->e.text, "selinuxLabel"));
	f->process.selinuxlabel = (char *)"";
	f->process.apparmorprofile = (char *)"docker-default"; /* only a warning */
	run(f);
	assert_int_equal(f->status, 0);
	/* A limit that cannot be applied is an error with the controller's name. */
	memory.limit = 1 << 20;
	res.memory = &memory;
	f->linux_.resources = &res;
	assert_int_equal(run_fails(f), -EOPNOTSUPP);
	assert_non_null(strstr(f->e.text, "memory"));
}

static int own_namespace(void **state)
{
	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	return 0;
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(runs_and_exits),
		T(signal_status),
		T(no_descriptors_leak),
		T(stdin_arrives),
		T(terminal),
		T(user_groups_home),
		T(umask_of_the_user),
		T(capabilities),
		T(rlimits_and_oom_score),
		T(exec_errors),
		T(mounts_and_readonly),
		T(devices),
		T(devices_where_nodes_do_not_open),
		T(devices_of_a_privileged_container),
		T(propagation),
		T(hostile_rootfs),
		T(the_agents_files_are_gone),
		T(exec_joins),
		T(exec_before_start),
		T(tmpfs_modes),
		T(proc_behind_a_link),
		T(exec_stays_inside),
		T(init_death_ends_all),
		T(signal_is_noticed_when_blocked),
		T(exec_that_does_not_come),
		T(setup_takes_too_long),
		T(start_that_does_not_come),
		T(free_in_every_state),
		T(slow_hooks),
		T(creation_takes_too_long),
		T(hooks_run_in_order),
		T(seccomp_filters),
		T(seccomp_older_than_us),
		T(user_namespace),
		T(user_namespace_and_sysctl),
		T(user_namespace_in_a_sandbox),
		T(sandbox_namespaces),
		T(network_namespace_and_sysctl),
		T(oom_comes_before_the_end),
		T(bad_specs),
	};

	if (geteuid() != 0 || access(BUSYBOX, X_OK) < 0)
		return 77; /* meson: skipped */
	return cmocka_run_group_tests(tests, own_namespace, NULL);
}

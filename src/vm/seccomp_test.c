/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the filter of each role lets through, tried in a child process of its own for each call. A call that is let
 * through may fail; one that is not ends the child by SIGSYS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "sys/filter.h"
#include "vm/machine.h"
#include "vm/small_guest.h"

MICRO_GUEST(spin, "1: pause\n jmp 1b\n");

#define LOOP    (1u << MACHINE_EVENT_LOOP)
#define VCPU    (1u << MACHINE_VCPU)
#define CONTROL (1u << MACHINE_CONTROL)
#define BOTH    (LOOP | VCPU | CONTROL) /* of the VM's threads, and so of the one that starts them */

static char page[4096] __attribute__((aligned(4096)));

static long call(long nr, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)
{
	return syscall(nr, a, b, c, d, 0, 0);
}

#define P(p) ((uintptr_t)(p))

/* A call with up to four arguments, and the roles that may make it. */
static const struct attempt {
	const char *what;
	long nr;
	uintptr_t args[4];
	unsigned roles;
} attempts[] = {
	/* the guest's kernel interface */
	{ "KVM_RUN", SYS_ioctl, { P(-1), KVM_RUN }, VCPU | CONTROL },
	{ "KVM_IRQFD", SYS_ioctl, { P(-1), KVM_IRQFD }, BOTH },
	{ "KVM_SET_GSI_ROUTING", SYS_ioctl, { P(-1), KVM_SET_GSI_ROUTING }, BOTH },
	{ "KVM_CREATE_VM", SYS_ioctl, { P(-1), KVM_CREATE_VM }, CONTROL },
	{ "KVM_CREATE_VCPU", SYS_ioctl, { P(-1), KVM_CREATE_VCPU }, CONTROL },
	{ "TIOCSTI", SYS_ioctl, { 0, 0x5412 }, 0 },
	{ "BLKDISCARD", SYS_ioctl, { P(-1), BLKDISCARD }, BOTH },
	/* the loop */
	{ "epoll_pwait", SYS_epoll_pwait, { P(-1), P(page), 1, 0 }, LOOP | CONTROL },
	{ "epoll_ctl", SYS_epoll_ctl, { P(-1), EPOLL_CTL_DEL, 0 }, BOTH },
	/* devices */
	{ "read", SYS_read, { P(-1), P(page), 1 }, BOTH },
	{ "pwritev2", SYS_pwritev2, { P(-1) }, BOTH },
	{ "fallocate", SYS_fallocate, { P(-1) }, BOTH },
	{ "io_uring_enter", SYS_io_uring_enter, { P(-1) }, BOTH },
	{ "io_uring_setup", SYS_io_uring_setup, { 1, P(page) }, CONTROL },
	{ "io_uring_register", SYS_io_uring_register, { P(-1) }, CONTROL },
	{ "getrandom", SYS_getrandom, { P(page), 8 }, BOTH },
	{ "socket AF_UNIX", SYS_socket, { AF_UNIX, SOCK_STREAM }, BOTH },
	{ "socket AF_INET", SYS_socket, { AF_INET, SOCK_STREAM }, 0 },
	{ "socket AF_NETLINK", SYS_socket, { AF_NETLINK, SOCK_RAW }, 0 },
	{ "bind", SYS_bind, { P(-1) }, CONTROL },
	{ "listen", SYS_listen, { P(-1) }, CONTROL },
	/* memory */
	{ "mmap", SYS_mmap, { 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS }, BOTH },
	{ "mmap PROT_EXEC", SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS }, 0 },
	{ "mprotect", SYS_mprotect, { P(page), 4096, PROT_READ | PROT_WRITE }, BOTH },
	{ "mprotect PROT_EXEC", SYS_mprotect, { P(page), 4096, PROT_READ | PROT_EXEC }, 0 },
	{ "madvise MADV_REMOVE", SYS_madvise, { P(page), 0, MADV_REMOVE }, BOTH },
	{ "madvise MADV_MERGEABLE", SYS_madvise, { P(page), 0, MADV_MERGEABLE }, CONTROL },
	/* files */
	{ "open to write", SYS_openat, { P(AT_FDCWD), P("/dev/null"), O_WRONLY }, CONTROL },
	{ "open to read and write", SYS_openat, { P(AT_FDCWD), P("/dev/null"), O_RDWR }, CONTROL },
	{ "create", SYS_openat, { P(AT_FDCWD), P("/nowhere/file"), O_CREAT }, CONTROL },
	{ "unlinkat", SYS_unlinkat, { P(AT_FDCWD), P("/nowhere/file"), 0 }, CONTROL },
	{ "mount", SYS_mount, { P(page) }, 0 },
	/* programs, threads, processes */
	{ "execve", SYS_execve, { P("/bin/true") }, 0 },
	{ "execveat", SYS_execveat, { P(AT_FDCWD), P("/bin/true") }, 0 },
	{ "clone", SYS_clone, { SIGCHLD }, 0 },
	{ "fork", SYS_clone, { SIGCHLD }, 0 },
	{ "clone3", SYS_clone3, { P(page), sizeof page }, CONTROL },
	{ "unshare", SYS_unshare, { CLONE_NEWNS }, 0 },
	{ "ptrace", SYS_ptrace, { 0 }, 0 },
	{ "process_vm_readv", SYS_process_vm_readv, { 1 }, 0 },
	{ "kill", SYS_kill, { 1, 0 }, 0 },
	{ "tgkill of another", SYS_tgkill, { 1, 1, 0 }, 0 },
	{ "setuid", SYS_setuid, { 0 }, 0 },
	{ "prctl", SYS_prctl, { 0 }, 0 },
	{ "prctl PR_SET_NAME", SYS_prctl, { PR_SET_NAME, P("x") }, CONTROL },
	{ "seccomp", SYS_seccomp, { 2, 0, 0 }, 0 },
	{ "seccomp filter", SYS_seccomp, { SECCOMP_SET_MODE_FILTER, 0, 0 }, CONTROL },
	{ "setns", SYS_setns, { P(-1), 0 }, 0 },
	{ "chroot", SYS_chroot, { P("/") }, 0 },
	{ "init_module", SYS_init_module, { 0 }, 0 },
	{ "bpf", SYS_bpf, { 0 }, 0 },
	{ "userfaultfd", SYS_userfaultfd, { 0 }, CONTROL },
};

static void confine(enum machine_role role)
{
	struct vmm vm = { .config = { .seccomp = true } };
	struct rlimit none = { 0 };

	setrlimit(RLIMIT_CORE, &none);
	machine_confine_thread(&vm, role);
}

/* How a child ended that did it under the filter of the role. */
static int in_child(enum machine_role role, void (*fn)(const struct attempt *a), const struct attempt *a)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		confine(role);
		fn(a);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void attempt(const struct attempt *a)
{
	call(a->nr, a->args[0], a->args[1], a->args[2], a->args[3]);
}

static void test_each_call_by_role(void **state)
{
	static const char *const roles[] = { "event loop", "vCPU", "control" };

	if (!machine_can_confine())
		skip();
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
		for (unsigned role = 0; role < 3; role++) {
			const struct attempt *a = &attempts[i];
			int status = in_child(role, attempt, a);
			bool ok = a->roles & 1u << role ? WIFEXITED(status) && !WEXITSTATUS(status)
							: WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;

			if (!ok)
				fail_msg("%s, %s: wait status %#x", roles[role], a->what, status);
		}
}

static void look_up(const struct attempt *a)
{
	struct timespec now = { 0 };
	struct tm tm;

	/* Nothing may be opened, and asking is no reason to end. */
	if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
		_exit(1);
	/* What the C library does of its own accord. */
	gmtime_r(&now.tv_sec, &tm);
	localtime_r(&now.tv_sec, &tm);
	for (size_t size = 1; size < 64 << 20; size *= 3) {
		void *p = malloc(size);

		memset(p, 1, size);
		free(p);
	}
	raise(0);
	strerror(EINVAL);
	dprintf(STDOUT_FILENO, "%s", "");
	puts("");
	fflush(stdout);
}

static void test_the_c_library_lives_on(void **state)
{
	if (!machine_can_confine())
		skip();
	for (unsigned role = 0; role < 2; role++)
		assert_int_equal(in_child(role, look_up, NULL), 0);
}

/* A confined host program can do all that it has to: a VM, its threads, which confine themselves, a snapshot. */
static void use_library(const char *dir)
{
	char paths[3][64];
	struct vmm_config c = { .vcpus = 1, .memory = 4 << 20, .serial_in = -1, .serial_out = -1, .seccomp = true };
	struct vmm_snapshot s = { paths[0], paths[1] };
	struct vmm_restore r = { .state_path = paths[0], .memory_path = paths[1], .serial_in = -1, .serial_out = -1 };
	_cleanup_close_ int kernel = make_kernel(micro_spin, (size_t)(micro_spin_end - micro_spin));
	struct err e = { 0 };
	char path[64];
	struct vmm *vm;

	c.kernel = path;
	snprintf(path, sizeof path, "/proc/self/fd/%d", kernel);
	if (vmm_confine(&e) < 0)
		_exit(1);
	for (int i = 0; i < 3; i++)
		snprintf(paths[i], sizeof paths[i], "%s/%d", dir, i);
	if (vmm_new(&c, &vm, &e) < 0 ||
	    vmm_add_vsock(vm, "v", &(struct vmm_vsock){ .cid = 3, .uds_path = paths[2] }, &e) < 0 ||
	    vmm_add_rng(vm, "r", NULL, &e) < 0 || vmm_start(vm, &e) < 0 || vmm_pause(vm, &e) < 0 ||
	    vmm_snapshot(vm, &s, &e) < 0)
		_exit(2);
	vmm_free(vm);
	r.seccomp = true;
	if (vmm_restore(&r, &vm, &e) < 0 || vmm_resume(vm, &e) < 0)
		_exit(3);
	vmm_free(vm);
}

static void test_a_host_program_can_be_confined(void **state)
{
	char dir[] = "/tmp/caisson-vm-XXXXXX";
	pid_t pid;
	int status;

	if (!machine_can_confine() || !micro_guest_possible())
		skip();
	assert_non_null(mkdtemp(dir));
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		use_library(dir);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(dir_remove(dir), 0);
	assert_int_equal(status, 0);
}

static void test_programs_have_bounds(void **state)
{
	const struct filter_rule rules[] = { { .call = SYS_read },
					     { .call = SYS_socket, .test = FILTER_ARG_IS, .value = AF_UNIX } };
	const struct filter_table table = FILTER_TABLE(rules);
	struct sock_filter program[64];
	int n = filter_build(&table, 1, program, 64);

	assert_true(n > 0);
	assert_int_equal(program[n - 1].k, SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(filter_build(&table, 1, program, (size_t)n), n);
	for (int max = 0; max < n; max++)
		assert_int_equal(filter_build(&table, 1, program, (size_t)max), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs_have_bounds),
		cmocka_unit_test(test_each_call_by_role),
		cmocka_unit_test(test_the_c_library_lives_on),
		cmocka_unit_test(test_a_host_program_can_be_confined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

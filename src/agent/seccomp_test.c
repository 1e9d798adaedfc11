/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles are compiled and tried on a child process. */
#include "agent/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/filter.h"

struct profile {
	Grpc__LinuxSeccomp s;
	Grpc__LinuxSyscall call, *calls[1];
	Grpc__LinuxSeccompArg arg[2], *args[2];
	char *names[4], *strings[2];
};

static void init(struct profile *p, const char *action, const char *syscall_name)
{
	*p = (struct profile){ .s = GRPC__LINUX_SECCOMP__INIT, .call = GRPC__LINUX_SYSCALL__INIT };
	p->s.defaultaction = (char *)"SCMP_ACT_ALLOW";
	p->calls[0] = &p->call;
	p->s.syscalls = p->calls;
	p->s.n_syscalls = 1;
	p->names[0] = (char *)syscall_name;
	p->call.names = p->names;
	p->call.n_names = 1;
	p->call.action = (char *)action;
	p->call.args = p->args;
	for (int i = 0; i < 2; i++) {
		p->arg[i] = (Grpc__LinuxSeccompArg)GRPC__LINUX_SECCOMP_ARG__INIT;
		p->args[i] = &p->arg[i];
	}
}

/* What getpriority(PRIO_PROCESS, who) says under the profile: the errno, 0, or 1000 + signal. */
static int try(struct profile *p, int which)
{
	struct seccomp_filter f;
	struct err e = { 0 };
	int status;
	pid_t pid;

	if (seccomp_compile(&p->s, &f, &e) < 0)
		fail_msg("%s", e.text);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (filter_load(f.program, f.size, f.flags, NULL) < 0)
			_exit(99);
		errno = 0;
		syscall(SYS_getpriority, which, 0);
		/* Directly: a sanitizer's _exit() makes calls that the profile may not allow. */
		syscall(SYS_exit_group, errno);
		__builtin_unreachable();
	}
	seccomp_filter_fini(&f);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void actions(void **state)
{
	struct profile p;

	init(&p, "SCMP_ACT_ERRNO", "getpriority");
	assert_int_equal(try(&p, 0), EPERM); /* errnoRet not given */
	p.call.errnoret = ENOTTY;
	assert_int_equal(try(&p, 0), ENOTTY);
	init(&p, "SCMP_ACT_KILL_PROCESS", "getpriority");
	assert_int_equal(try(&p, 0), 1000 + SIGSYS);
	init(&p, "SCMP_ACT_ALLOW", "getpriority"); /* the same as the default */
	assert_int_equal(try(&p, 0), 0);
	init(&p, "SCMP_ACT_ERRNO", "from_the_future");
	assert_int_equal(try(&p, 0), 0);
}

static void default_action(void **state)
{
	struct profile p;

	init(&p, "SCMP_ACT_ALLOW", "exit_group");
	p.s.defaultaction = (char *)"SCMP_ACT_ERRNO";
	assert_int_equal(try(&p, 0), EPERM); /* defaultErrnoRet not given */
	p.s.defaulterrnoret = ENOSYS;
	assert_int_equal(try(&p, 0), ENOSYS);
	/* A rule with another errno than the default's is a rule, with the same one it changes nothing. */
	p.names[1] = (char *)"getpriority";
	p.call.n_names = 2;
	p.s.defaultaction = (char *)"SCMP_ACT_ALLOW";
	p.names[0] = (char *)"getrusage";
	p.call.action = (char *)"SCMP_ACT_ERRNO";
	p.call.errnoret = ENOTTY;
	assert_int_equal(try(&p, 0), ENOTTY);
}

static void arguments(void **state)
{
	struct profile p;

	init(&p, "SCMP_ACT_ERRNO", "getpriority");
	p.call.n_args = 1;
	p.arg[0].value = 1;
	p.arg[0].op = (char *)"SCMP_CMP_EQ";
	assert_int_equal(try(&p, 0), 0);
	assert_int_equal(try(&p, 1), EPERM);
	/* Two conditions on one argument are alternatives. */
	p.call.n_args = 2;
	p.arg[1].value = 2;
	p.arg[1].op = (char *)"SCMP_CMP_EQ";
	assert_int_equal(try(&p, 0), 0);
	assert_int_equal(try(&p, 1), EPERM);
	assert_int_equal(try(&p, 2), EPERM);
	p.call.n_args = 1;
	p.arg[0].value = 2;
	p.arg[0].valuetwo = 2;
	p.arg[0].op = (char *)"SCMP_CMP_MASKED_EQ";
	assert_int_equal(try(&p, 0), 0);
	assert_int_equal(try(&p, 2), EPERM);
}

static void architectures_and_flags(void **state)
{
	struct profile p;
	struct seccomp_filter f;

	init(&p, "SCMP_ACT_ERRNO", "getpriority");
	p.strings[0] = (char *)"SCMP_ARCH_X86_64";
	p.strings[1] = (char *)"SCMP_ARCH_X86";
	p.s.architectures = p.strings;
	p.s.n_architectures = 2;
	assert_int_equal(try(&p, 0), EPERM);
	p.strings[0] = (char *)"SECCOMP_FILTER_FLAG_LOG";
	p.strings[1] = (char *)"SECCOMP_FILTER_FLAG_SPEC_ALLOW";
	p.s.n_architectures = 0;
	p.s.flags = p.strings;
	p.s.n_flags = 2;
	assert_int_equal(seccomp_compile(&p.s, &f, NULL), 0);
	assert_int_equal(f.flags, SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW);
	seccomp_filter_fini(&f);
}

static void refuses(void **state)
{
	struct profile p;
	struct seccomp_filter f;

	init(&p, "SCMP_ACT_NOTIFY", "getpriority");
	assert_int_equal(seccomp_compile(&p.s, &f, NULL), -EINVAL);
	init(&p, "SCMP_ACT_ERRNO", "getpriority");
	p.s.defaultaction = (char *)"ALLOW";
	assert_int_equal(seccomp_compile(&p.s, &f, NULL), -EINVAL);
	init(&p, "SCMP_ACT_ERRNO", "getpriority");
	p.call.n_args = 1;
	p.arg[0].op = (char *)"SCMP_CMP_MAYBE";
	assert_int_equal(seccomp_compile(&p.s, &f, NULL), -EINVAL);
	p.arg[0].op = (char *)"SCMP_CMP_EQ";
	p.arg[0].index = 6;
	assert_int_equal(seccomp_compile(&p.s, &f, NULL), -EINVAL);
	p.call.n_args = 0;
	p.strings[0] = (char *)"SCMP_ARCH_PDP11";
	p.s.architectures = p.s.flags = p.strings;
	p.s.n_architectures = 1;
	assert_int_equal(seccomp_compile(&p.s, &f, NULL), -EINVAL);
	p.s.n_architectures = 0;
	p.s.n_flags = 1;
	assert_int_equal(seccomp_compile(&p.s, &f, NULL), -EINVAL);
	assert_int_equal(seccomp_compile(NULL, &f, NULL), 0);
	assert_null(f.program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(actions),   cmocka_unit_test(default_action),
		cmocka_unit_test(arguments), cmocka_unit_test(architectures_and_flags),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

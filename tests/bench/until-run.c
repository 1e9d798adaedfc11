/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtual machine monitor needs until its guest's first instruction: runs a program up to its first
 * ioctl(KVM_RUN), prints what that cost, and kills it.
 *
 * usage: until-run [-s] PROGRAM [ARGUMENT...]
 *        prints "WALL_US CPU_US SYSCALLS", since its exec, and then /proc/PID/smaps of the process that runs the guest.
 *        -s: count system calls (else 0); the times are then those of a traced program and say nothing.
 *
 * A seccomp filter stops just that call (SECCOMP_RET_TRACE), so that until there the program runs undisturbed but for
 * a stop at each new thread or process. Exit status 1: it ended before; 2: wrong use.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double us(clockid_t clock)
{
	struct timespec t;

	return clock_gettime(clock, &t) < 0 ? 0 : (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static _Noreturn void traced(char **argv)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { sizeof f / sizeof *f, f };

	if (ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 && raise(SIGSTOP) == 0 &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p, 0, 0) == 0)
		execvp(argv[0], argv);
	fprintf(stderr, "until-run: cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(2);
}

/* The process that a thread belongs to. */
static pid_t process_of(pid_t tid)
{
	char path[64], line[128];
	FILE *f;
	int tgid = tid;

	snprintf(path, sizeof path, "/proc/%d/status", tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			break;
	if (f)
		fclose(f);
	return tgid;
}

static void print_smaps(pid_t pid)
{
	char path[64], piece[4096];
	size_t n;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	while (f && (n = fread(piece, 1, sizeof piece, f)))
		fwrite(piece, 1, n, stdout);
	if (f)
		fclose(f);
}

static void report(pid_t tid, double start, unsigned long calls)
{
	pid_t pid = process_of(tid);
	double wall = us(CLOCK_MONOTONIC) - start;
	clockid_t cpu;

	if (clock_getcpuclockid(pid, &cpu))
		cpu = CLOCK_PROCESS_CPUTIME_ID;
	printf("%.0f %.0f %lu\n", wall, us(cpu), calls);
	print_smaps(pid);
}

int main(int argc, char **argv)
{
	int count = argc > 1 && !strcmp(argv[1], "-s"), status;
	long go = count ? PTRACE_SYSCALL : PTRACE_CONT;
	unsigned long stops = 0;
	double start;
	pid_t first, tid;

	if (argc < 2 + count) {
		fprintf(stderr, "usage: until-run [-s] PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	first = fork();
	if (first == 0)
		traced(argv + 1 + count);
	if (first < 0 || waitpid(first, &status, 0) != first || !WIFSTOPPED(status))
		return 2;
	ptrace(PTRACE_SETOPTIONS, first, 0,
	       PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
		       PTRACE_O_TRACEVFORK | PTRACE_O_TRACESYSGOOD);
	start = us(CLOCK_MONOTONIC);
	ptrace(go, first, 0, 0);
	while ((tid = waitpid(-1, &status, __WALL)) > 0) {
		int sig;

		if (!WIFSTOPPED(status)) {
			if (tid == first)
				break;
			continue;
		}
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
			report(tid, start, stops / 2);
			kill(process_of(tid), SIGKILL);
			kill(first, SIGKILL);
			return 0;
		}
		sig = WSTOPSIG(status);
		if (sig == (SIGTRAP | 0x80)) {
			stops++;
			sig = 0;
		} else if (status >> 16 || sig == SIGSTOP || sig == SIGTRAP) {
			sig = 0; /* a new thread, exec, or the first stop of a new thread */
		}
		ptrace(go, tid, 0, sig);
	}
	fprintf(stderr, "until-run: %s ended without running a guest\n", argv[1 + count]);
	return 1;
}

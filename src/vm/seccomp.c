/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the VM's threads may not ask of the host's kernel: start programs or threads, look into other processes, change
 * the view of the file system, identity or the system. They serve a hostile guest and need none of it; all that devices
 * do need (files, sockets, memory, KVM) stays. A call that is refused gives EPERM; one of another architecture ends the
 * process. seccomp(2).
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "sys/filter.h"
#include "vm/machine.h"

#ifdef __x86_64__
#define ARCH          AUDIT_ARCH_X86_64
#define FOREIGN_CALLS 0x40000000 /* the x32 interface */
#else
#define ARCH          AUDIT_ARCH_AARCH64
#define FOREIGN_CALLS 0x80000000
#endif

#define REFUSE(call)                                                                                                   \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

static const struct sock_filter program[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FOREIGN_CALLS, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	/* programs, threads, other processes */
	REFUSE(execve),
	REFUSE(execveat),
	REFUSE(clone),
	REFUSE(clone3),
#ifdef SYS_fork
	REFUSE(fork),
	REFUSE(vfork),
#endif
	REFUSE(ptrace),
	REFUSE(process_vm_readv),
	REFUSE(process_vm_writev),
	REFUSE(pidfd_getfd),
	REFUSE(kcmp),
	/* the file system's shape */
	REFUSE(mount),
	REFUSE(umount2),
	REFUSE(pivot_root),
	REFUSE(chroot),
	REFUSE(move_mount),
	REFUSE(open_tree),
	REFUSE(fsopen),
	REFUSE(fsconfig),
	REFUSE(fsmount),
	REFUSE(setns),
	REFUSE(unshare),
	REFUSE(mknodat),
	REFUSE(open_by_handle_at),
#ifdef SYS_mknod
	REFUSE(mknod),
#endif
	/* identity */
	REFUSE(setuid),
	REFUSE(setgid),
	REFUSE(setreuid),
	REFUSE(setregid),
	REFUSE(setresuid),
	REFUSE(setresgid),
	REFUSE(setgroups),
	REFUSE(capset),
	REFUSE(personality),
	REFUSE(keyctl),
	REFUSE(add_key),
	REFUSE(request_key),
	/* the system */
	REFUSE(init_module),
	REFUSE(finit_module),
	REFUSE(delete_module),
	REFUSE(kexec_load),
	REFUSE(reboot),
	REFUSE(swapon),
	REFUSE(swapoff),
	REFUSE(sethostname),
	REFUSE(setdomainname),
	REFUSE(settimeofday),
	REFUSE(clock_settime),
	REFUSE(adjtimex),
	REFUSE(acct),
	REFUSE(bpf),
	REFUSE(perf_event_open),
#ifdef SYS_iopl
	REFUSE(iopl),
	REFUSE(ioperm),
#endif
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

void machine_confine_thread(struct vmm *vm)
{
	struct err e = { 0 };

	if (!vm->config.seccomp)
		return;
	/* Both are this thread's only. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		err_sys(&e, errno, "cannot filter the system calls of the VM's threads");
	else
		filter_load(program, sizeof program, 0, &e);
	if (err_is_set(&e))
		machine_end(vm, VMM_END_ERROR, false, e.text);
}

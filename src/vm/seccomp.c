/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which system calls the VM's threads may make. They serve a hostile guest: whoever takes one over by a flaw in a
 * device finds no way to start a program, open a file, reach the network or run memory of his own. Opening, mapping and
 * starting things is done by the host program's threads, in the functions of caisson/vmm.h. Those are filtered only if
 * the host program asks for it (vmm_confine), by what all of this needs: seccomp_control.c.
 *
 * There are two roles: a thread that runs an event loop, of the machine or of one disk, and a thread that runs a vCPU.
 * A guest's access to a device's registers is served on the vCPU's own thread, inside the device's loop: it resets and
 * starts devices, which drains disks, and the first kick of a queue is served there too. So the vCPUs have what devices
 * need, and the running of the guest on top.
 *
 * Any other call ends the process, as the whole of it can be trusted no more: the VM's threads share all memory with
 * the host program's. The kernel's audit log then has the number of the call (type=SECCOMP). A few answer with
 * an error, since libraries ask by themselves and can do without: see `looked_up`.
 *
 * The tables are made into a filter when a thread starts, on its stack. That takes a few microseconds, less than the
 * kernel's part, and nothing has to be kept; a library that compiles filters would be slower than both, or need global
 * state.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "sys/filter.h"
#include "vm/machine.h"
#include "vm/seccomp.h"

#define PROGRAM_MAX 1024

#ifndef VM_SECCOMP
#define VM_SECCOMP true /* false: see meson.build */
#endif

/* Running the guest, and telling where it stood when it cannot go on. First of all ioctls: the most frequent call. */
static const struct filter_rule vcpu[] = {
	ALLOW_IOCTL(KVM_RUN),
#ifdef __x86_64__
	ALLOW_IOCTL(KVM_GET_REGS),
	ALLOW_IOCTL(KVM_GET_SREGS),
#else
	ALLOW_IOCTL(KVM_GET_ONE_REG),
#endif
	/* the kick's handler returns */
	ALLOW(rt_sigreturn),
};

/* Waiting in an event loop. */
static const struct filter_rule event_loop[] = {
#ifdef SYS_epoll_wait
	ALLOW(epoll_wait),
#endif
	ALLOW(epoll_pwait),
};

/* What every thread of a C program does. */
static const struct filter_rule runtime[] = {
	/* memory, that cannot be executed */
	ALLOW_LACKS(mmap, 2, PROT_EXEC),
	ALLOW_LACKS(mprotect, 2, PROT_EXEC),
	ALLOW(mremap),
	ALLOW(munmap),
	ALLOW(brk),
	ALLOW_IS(madvise, 2, MADV_DONTNEED),
	ALLOW_IS(madvise, 2, MADV_FREE),
	ALLOW_IS(madvise, 2, MADV_HUGEPAGE),
	ALLOW_IS(madvise, 2, MADV_DONTDUMP),
	/* locks, and time where the vDSO has none */
	ALLOW(futex),
	ALLOW(sched_yield),
	ALLOW(clock_gettime),
	ALLOW(gettimeofday),
	ALLOW(nanosleep),
	ALLOW(clock_nanosleep),
	ALLOW(restart_syscall),
	/* who am I: log, locks, pthread_kill(); how big is this host: malloc(), qsort() */
	ALLOW(getpid),
	ALLOW(gettid),
	ALLOW(sched_getaffinity),
	ALLOW(sysinfo),
	/* signals are blocked while a thread ends or kicks another: tgkill() is in `own_process` */
	ALLOW(rt_sigprocmask),
	ALLOW(exit),
	ALLOW(exit_group),
};

/* Serving the devices. What is used was opened before, by the host program's threads. */
static const struct filter_rule devices[] = {
	/* kicks, interrupts, timers, taps, consoles, the log */
	ALLOW(read),
	ALLOW(write),
	ALLOW(readv),
	ALLOW(writev),
	ALLOW(close),
	ALLOW(epoll_ctl),
	/* MSI-X vectors are given their eventfd when the guest unmasks them */
	ALLOW(eventfd2),
	/* disks; the ring was made with the operations that it may do, see block/engine_uring.c */
	ALLOW(preadv),
	ALLOW(pwritev),
	ALLOW(pwritev2),
	ALLOW(fdatasync),
	ALLOW(fallocate),
	ALLOW_IOCTL(BLKDISCARD),
	ALLOW(io_uring_enter),
	/* persistent memory */
	ALLOW(msync),
	/* memory that the guest gives back: balloon, virtio-mem (with fallocate) */
	ALLOW_IS(madvise, 2, MADV_REMOVE),
	/* random numbers */
	ALLOW(getrandom),
	/* vsock: clients of the host, listeners of the host; passt and vhost-user servers: descriptors and bytes */
	ALLOW_IS(socket, 0, AF_UNIX),
	ALLOW(connect),
	ALLOW(accept4),
	ALLOW(shutdown),
	ALLOW(sendto),
	ALLOW(recvfrom),
	ALLOW(sendmsg),
	ALLOW(recvmsg),
	/* network cards: the driver chose its offloads */
	ALLOW_IOCTL(TUNSETOFFLOAD),
	/* the guest moved a device: its kicks, interrupts and memory move along */
	ALLOW_IOCTL(KVM_IOEVENTFD),
	ALLOW_IOCTL(KVM_IRQFD),
	ALLOW_IOCTL(KVM_SET_GSI_ROUTING),
	ALLOW_IOCTL(KVM_SET_USER_MEMORY_REGION),
	/* a level-triggered interrupt of the monitor's own I/O APIC */
	ALLOW_IOCTL(KVM_SIGNAL_MSI),
};

/*
 * Refused, but no reason to end. libc looks into /proc/sys/vm/overcommit_memory when a heap shrinks and into message
 * catalogues for strerror(), and asks what kind of file a stream writes to; it does without the answers.
 */
static const struct filter_rule looked_up[] = {
	{ .call = SYS_openat,
	  .test = FILTER_ARG_LACKS,
	  .arg = 2,
	  .value = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_PATH | O_DIRECTORY,
	  .code = EACCES },
	{ .call = SYS_newfstatat, .code = EACCES },
	{ .call = SYS_fstat, .code = EACCES },
	{ .call = SYS_lseek, .code = EACCES },
};

static int install(enum machine_role role, struct err *e)
{
	/* A vCPU is kicked when it shall leave the guest, and abort() ends the process: signals to nobody else. */
	const struct filter_rule own_process[] = { ALLOW_IS(tgkill, 0, getpid()) };
	const struct filter_table none = { 0 }, run = FILTER_TABLE(vcpu), wait = FILTER_TABLE(event_loop);
	bool control = role == MACHINE_CONTROL;
	/* The threads that the control thread starts have its filter too, with their own on top. */
	const struct filter_table tables[] = { role != MACHINE_EVENT_LOOP ? run : none,
					       role != MACHINE_VCPU ? wait : none,
					       FILTER_TABLE(devices),
					       FILTER_TABLE(runtime),
					       FILTER_TABLE(own_process),
					       control ? machine_control_calls : none,
					       FILTER_TABLE(looked_up) };
	struct sock_filter program[PROGRAM_MAX];
	int n = filter_build(tables, sizeof tables / sizeof *tables, program, PROGRAM_MAX);

	if (n < 0)
		return err_sys(e, -n, "the filter is too long");
	/* This thread only, as is the filter. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "cannot renounce privileges");
	return filter_load(program, (size_t)n * sizeof *program, 0, e);
}

bool machine_can_confine(void)
{
	return VM_SECCOMP;
}

void machine_prepare_filter(const struct vmm *vm)
{
	if (!vm->config.seccomp)
		return;
	if (!machine_can_confine())
		log_warn(
			"this program was built with sanitizers: the virtual machine's threads run without a filter of "
			"their system calls");
}

void machine_confine_thread(struct vmm *vm, enum machine_role role)
{
	struct err e = { 0 };

	if (!vm->config.seccomp || !machine_can_confine())
		return;
	if (install(role, &e) < 0) {
		err_wrap(&e, "cannot filter the system calls of the VM's threads");
		machine_end(vm, VMM_END_ERROR, false, e.text);
	}
}

int vmm_confine(struct err *e)
{
	int r = machine_can_confine() ? install(MACHINE_CONTROL, e) : 0;

	if (r < 0)
		err_wrap(e, "cannot filter the system calls of this thread");
	return r;
}

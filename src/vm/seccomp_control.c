/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the thread that makes and controls VMs may do besides: open files, write snapshots, make KVM's and the devices'
 * descriptors, start threads. No program is started, no process made or looked into, no file system mounted, no other
 * network reached than Unix sockets and taps, no memory made executable.
 */
#include <errno.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "vm/seccomp.h"

/* As glibc starts a thread. */
#define THREAD_FLAGS                                                                                                   \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |             \
	 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

static const struct filter_rule calls[] = {
	/* files: disks, kernels, snapshots, logs, sockets in the file system */
	ALLOW(openat),
	ALLOW(newfstatat),
	ALLOW(fstat),
	ALLOW(statx),
	ALLOW(fstatfs),
	ALLOW(lseek),
	ALLOW(pread64),
	ALLOW(pwrite64),
	ALLOW(sendfile),
	ALLOW(ftruncate),
	ALLOW(fsync),
	ALLOW(fchmod),
	ALLOW(fcntl),
#ifdef SYS_rename
	ALLOW(rename),
	ALLOW(unlink),
#endif
	ALLOW(renameat),
	ALLOW(renameat2),
	ALLOW(unlinkat),
	/* memory: of the guest, by a page server */
	ALLOW(madvise),
	ALLOW(memfd_create),
	ALLOW(userfaultfd),
	ALLOW_IOCTL(USERFAULTFD_IOC_NEW),
	ALLOW_IOCTL(UFFDIO_API),
	ALLOW_IOCTL(UFFDIO_REGISTER),
	/* event loops, signals of the process */
	ALLOW(epoll_create1),
	ALLOW(signalfd4),
	ALLOW(rt_sigaction),
	/* sockets: socket() is in the devices' table, for AF_UNIX */
	ALLOW(bind),
	ALLOW(listen),
	ALLOW(setsockopt),
	/* disks and cards */
	ALLOW(io_uring_setup),
	ALLOW(io_uring_register),
	ALLOW_IOCTL(BLKGETSIZE64),
	ALLOW_IOCTL(BLKSSZGET),
	ALLOW_IOCTL(BLKPBSZGET),
	ALLOW_IOCTL(TUNSETIFF),
	ALLOW_IOCTL(TUNGETIFF),
	ALLOW_IOCTL(TUNSETVNETHDRSZ),
	ALLOW_IOCTL(SIOCGIFINDEX),
	/* a terminal gets its settings back */
	ALLOW_IOCTL(TCGETS),
	ALLOW_IOCTL(TCSETS),
	/* threads, and no processes: the flags of clone3() are out of reach, so libc has to use clone() */
	{ .call = SYS_clone3, .code = ENOSYS },
	ALLOW_IS(clone, 0, THREAD_FLAGS),
	ALLOW(set_robust_list),
	ALLOW(rseq),
	ALLOW_IS(prctl, 0, PR_SET_NAME),
	ALLOW_IS(prctl, 0, PR_SET_NO_NEW_PRIVS),
	ALLOW_IS(seccomp, 0, SECCOMP_SET_MODE_FILTER),
	/* KVM: what there is, machines, vCPUs, their state */
	ALLOW_IOCTL(KVM_GET_API_VERSION),
	ALLOW_IOCTL(KVM_CHECK_EXTENSION),
	ALLOW_IOCTL(KVM_GET_VCPU_MMAP_SIZE),
	ALLOW_IOCTL(KVM_CREATE_VM),
	ALLOW_IOCTL(KVM_ENABLE_CAP),
	ALLOW_IOCTL(KVM_CREATE_VCPU),
	ALLOW_IOCTL(KVM_CREATE_DEVICE),
	ALLOW_IOCTL(KVM_SET_DEVICE_ATTR),
	ALLOW_IOCTL(KVM_GET_DEVICE_ATTR),
	ALLOW_IOCTL(KVM_GET_DIRTY_LOG),
	ALLOW_IOCTL(KVM_CLEAR_DIRTY_LOG),
	ALLOW_IOCTL(KVM_IRQ_LINE),
	ALLOW_IOCTL(KVM_SIGNAL_MSI),
	ALLOW_IOCTL(KVM_GET_MP_STATE),
	ALLOW_IOCTL(KVM_SET_MP_STATE),
	ALLOW_IOCTL(KVM_GET_ONE_REG),
	ALLOW_IOCTL(KVM_SET_ONE_REG),
	ALLOW_IOCTL(KVM_GET_REG_LIST),
	ALLOW_IOCTL(KVM_GET_VCPU_EVENTS),
	ALLOW_IOCTL(KVM_SET_VCPU_EVENTS),
#ifdef __x86_64__
	ALLOW_IOCTL(KVM_GET_SUPPORTED_CPUID),
	ALLOW_IOCTL(KVM_GET_MSR_INDEX_LIST),
	ALLOW_IOCTL(KVM_SET_TSS_ADDR),
	ALLOW_IOCTL(KVM_SET_IDENTITY_MAP_ADDR),
	ALLOW_IOCTL(KVM_CREATE_IRQCHIP),
	ALLOW_IOCTL(KVM_CREATE_PIT2),
	ALLOW_IOCTL(KVM_GET_IRQCHIP),
	ALLOW_IOCTL(KVM_SET_IRQCHIP),
	ALLOW_IOCTL(KVM_GET_PIT2),
	ALLOW_IOCTL(KVM_SET_PIT2),
	ALLOW_IOCTL(KVM_GET_CLOCK),
	ALLOW_IOCTL(KVM_SET_CLOCK),
	ALLOW_IOCTL(KVM_KVMCLOCK_CTRL),
	ALLOW_IOCTL(KVM_GET_TSC_KHZ),
	ALLOW_IOCTL(KVM_SET_TSC_KHZ),
	ALLOW_IOCTL(KVM_GET_CPUID2),
	ALLOW_IOCTL(KVM_SET_CPUID2),
	ALLOW_IOCTL(KVM_SET_REGS),
	ALLOW_IOCTL(KVM_SET_SREGS),
	ALLOW_IOCTL(KVM_GET_XCRS),
	ALLOW_IOCTL(KVM_SET_XCRS),
	ALLOW_IOCTL(KVM_GET_DEBUGREGS),
	ALLOW_IOCTL(KVM_SET_DEBUGREGS),
	ALLOW_IOCTL(KVM_GET_LAPIC),
	ALLOW_IOCTL(KVM_SET_LAPIC),
	ALLOW_IOCTL(KVM_GET_XSAVE),
	ALLOW_IOCTL(KVM_GET_XSAVE2),
	ALLOW_IOCTL(KVM_SET_XSAVE),
	ALLOW_IOCTL(KVM_GET_MSRS),
	ALLOW_IOCTL(KVM_SET_MSRS),
#else
	ALLOW_IOCTL(KVM_ARM_PREFERRED_TARGET),
	ALLOW_IOCTL(KVM_ARM_VCPU_INIT),
#endif
};

const struct filter_table machine_control_calls = FILTER_TABLE(calls);

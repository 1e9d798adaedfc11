/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The built-in virtual machine monitor as a library.
 *
 *   vmm_new → vmm_add_… → vmm_start → (pause, resume, plug, snapshot, …) → vmm_stop → vmm_free
 *   vmm_new → vmm_restore → vmm_resume → …
 *
 * Several VMs may live in one process. The library has no global state, never calls exit(3) and takes no signal
 * handler but for the one real-time signal that kicks a vCPU out of the guest (`kick_signal`), and that only when the
 * host program leaves it at its default. Each VM has one thread for its devices, one for each vCPU, and one for each
 * disk that asks for it.
 *
 * Functions of one VM are called from one thread at a time; they may wait for the VM's own threads, and for nothing
 * else. They return 0 or a negative errno, and then *e (which may be NULL) says in words what was tried, what happened
 * and what to do. What is handed in is copied; descriptors are taken over on success only, and duplicated never.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err; /* base/err.h */
struct vmm;

#define VMM_VCPUS_MAX 64
#define VMM_ID_MAX    64 /* characters of a device's id: letters, digits, '_' and '-' */

/* How devices reach the guest. */
enum vmm_shape {
	VMM_SHAPE_MICRO, /* virtio-mmio found through ACPI or the device tree: smallest, quickest; no hot-plug of
			    devices */
	VMM_SHAPE_CLOUD, /* PCI with MSI-X: hot-plug, VFIO */
};

struct vmm_config {
	const char *name; /* for messages and thread names; NULL: "vm" */
	enum vmm_shape shape;
	uint32_t vcpus;            /* 1 to VMM_VCPUS_MAX */
	uint32_t max_vcpus;        /* for vmm_set_vcpus(); 0: as many as vcpus */
	uint32_t threads_per_core; /* 1 or 2; 0: 1 */
	uint64_t memory;           /* bytes, a multiple of 2 MiB */
	bool shared_memory;        /* a memfd that other processes can map; needed by vhost-user devices */
	bool hugepages;            /* 2 MiB pages, which the host must have reserved */
	bool large_pages;    /* those that the host has, where it has them (transparent_hugepage); also without, the
				kernel's memory gets them as long as they come quickly */
	bool prealloc;       /* touch all memory before the guest runs */
	bool track_dirty;    /* keep a log of written pages, for diff snapshots */
	bool split_irqchip;  /* x86: KVM has the local APICs only; the I/O APIC is here, and there is no 8259 */
	const char *kernel;  /* bzImage, ELF with a PVH note (x86), Image (arm64) */
	const char *initrd;  /* NULL: none */
	const char *cmdline; /* NULL: "" */
	/* The caller promises that the kernel's file is not written to or cut off as long as the VM lives; replacing it
	 * (rename, unlink) is no harm. Where memory is private and of ordinary pages, the file's pages are then mapped
	 * and shared with other VMs instead of being copied. A file that cannot change (a sealed memfd, fs-verity,
	 * chattr +i) is mapped without the promise. */
	bool kernel_constant;
	/* A register (a byte at 0xc0000000, on arm64 at 0x9020000) to which the guest writes 123 when it has booted;
	 * the log then tells how long that took since vmm_new(). Not there any more in a VM that was restored. */
	bool boot_timer;
	/* The serial port. Output goes to serial_out (not taken over, made non-blocking is the caller's business; what
	 * cannot be written is dropped); input comes from serial_in. -1: none. */
	int serial_in, serial_out;
	/* Filter the system calls of the VM's threads, not of the caller's. One that they have no business with ends
	 * the process. */
	bool seccomp;
	int kick_signal; /* 0: SIGRTMIN */
};

/* Rate limits as token buckets: size tokens, filled at size per refill_ms; a burst that is given once on top. */
struct vmm_bucket {
	uint64_t size, burst, refill_ms; /* size or refill_ms 0: no limit */
};
struct vmm_rate {
	struct vmm_bucket bytes, ops;
};

struct vmm_block {
	const char *path; /* raw image or block device; or a descriptor in fd */
	int fd;           /* -1: open path */
	bool readonly;
	bool flush;      /* offer flushes and honour them (write-back); else flushes are acknowledged at once */
	bool discard;    /* punch holes where the guest discards */
	bool direct;     /* O_DIRECT */
	bool io_uring;   /* asynchronous by io_uring where the kernel has it, else as if false */
	bool own_thread; /* an I/O thread of its own */
	uint32_t queues, queue_size; /* 0: 1 and 256 */
	const char *serial;          /* at most 20 bytes; NULL: from device and inode */
	struct vmm_rate rate;
};

struct vmm_net {
	const char *tap;    /* name of an existing tap (opened in the caller's network namespace) */
	const int *tap_fds; /* or open queue descriptors (IFF_VNET_HDR), n_tap_fds of them, or */
	size_t n_tap_fds;
	const char *socket;   /* passt's Unix socket */
	uint32_t queue_pairs; /* with tap; 0: 1 */
	const char *mac;      /* "02:…"; NULL: the guest chooses */
	uint16_t mtu;         /* 0: not told */
	struct vmm_rate rx, tx;
};

struct vmm_vsock {
	uint32_t cid;         /* 3 and more */
	const char *uds_path; /* the hybrid Unix socket; see the vsock device */
};

struct vmm_fs {
	const char *tag;             /* at most 36 bytes */
	const char *socket;          /* vhost-user server */
	uint32_t queues, queue_size; /* request queues; 0: 1 and 1024 */
};

struct vmm_balloon {
	uint64_t bytes; /* taken from the guest at first */
	bool deflate_on_oom, free_page_reporting;
	uint32_t stats_interval_s; /* 0: no statistics */
};

struct vmm_balloon_stats {
	uint64_t target, actual; /* bytes */
	uint32_t valid;          /* bit n: value[n] is there (VirtIO 1.2 §5.5.6.4: tags of the statistics) */
	uint64_t value[16];
};

/*
 * virtio-mem: memory that comes and goes while the VM runs. What is not plugged the guest cannot use, and the host does
 * not have to provide. Servers of shared folders (fs) see all of it.
 */
struct vmm_memory {
	uint64_t max;       /* bytes, multiple of block */
	uint64_t block;     /* a power of two, 2 MiB or more; each takes a memory slot of KVM's. 0: what suits max */
	uint64_t requested; /* plugged at first */
};

struct vmm_memory_status {
	uint64_t max, block, requested, plugged;
};

struct vmm_pmem {
	const char *path;
	bool readonly;
	struct vmm_rate rate; /* of flushes */
};

struct vmm_console { /* virtio-console, port 0 */
	int in, out; /* -1: none */
};

/* Make a VM: nothing runs, /dev/kvm is open, the configuration is checked. */
int vmm_new(const struct vmm_config *c, struct vmm **ret, struct err *e);
/* Stop if need be, release everything. NULL does nothing. */
void vmm_free(struct vmm *vm);

/*
 * Filter the system calls of the calling thread, and of those that it starts from now on, for good: what the functions
 * of this file need is let through, with files, Unix sockets and an event loop; any other call ends the process. For a
 * host program that does nothing else. Built with sanitizers: does nothing.
 */
int vmm_confine(struct err *e);

/*
 * Devices. Before vmm_start() they are there at boot; after it they are hot-plugged (shape cloud: block, net, fs,
 * pmem), else -ENOTSUP. id: unique in the VM. For block devices the order is that of /dev/vda, vdb … in the guest.
 * On arm64 eight can be hot-plugged at a time.
 */
int vmm_add_block(struct vmm *vm, const char *id, const struct vmm_block *c, struct err *e);
int vmm_add_net(struct vmm *vm, const char *id, const struct vmm_net *c, struct err *e);
int vmm_add_vsock(struct vmm *vm, const char *id, const struct vmm_vsock *c, struct err *e);
int vmm_add_fs(struct vmm *vm, const char *id, const struct vmm_fs *c, struct err *e);
int vmm_add_rng(struct vmm *vm, const char *id, const struct vmm_rate *c, struct err *e);
int vmm_add_balloon(struct vmm *vm, const char *id, const struct vmm_balloon *c, struct err *e);
int vmm_add_memory(struct vmm *vm, const char *id, const struct vmm_memory *c, struct err *e);
int vmm_add_pmem(struct vmm *vm, const char *id, const struct vmm_pmem *c, struct err *e);
int vmm_add_console(struct vmm *vm, const char *id, const struct vmm_console *c, struct err *e);
/*
 * Before start: forget it. After: ask the guest, wait at most timeout_ms until it let go. -ETIMEDOUT: still there.
 * Memory stays once the VM was started, and on arm64 so does each device that was added before: -ENOTSUP. There a guest
 * takes five seconds to let go.
 */
int vmm_remove(struct vmm *vm, const char *id, int timeout_ms, struct err *e);
/* Where the device is (shape cloud), else -ENOENT: "SS", its slot in hex, or "PP/SS", behind the root port in slot PP.
 */
#define VMM_PCI_PATH_SIZE 8
int vmm_pci_path(struct vmm *vm, const char *id, char ret[VMM_PCI_PATH_SIZE]);

/* Changes of a running device. path NULL: the medium stays; rate NULL: the limits stay. */
int vmm_update_block(struct vmm *vm, const char *id, const char *path, const struct vmm_rate *rate, struct err *e);
int vmm_update_net(struct vmm *vm, const char *id, const struct vmm_rate *rx, const struct vmm_rate *tx, struct err *e);
int vmm_update_pmem(struct vmm *vm, const char *id, const struct vmm_rate *rate, struct err *e);
int vmm_set_balloon(struct vmm *vm, uint64_t bytes, struct err *e);
int vmm_set_balloon_interval(struct vmm *vm, uint32_t seconds, struct err *e);
int vmm_balloon_stats(struct vmm *vm, struct vmm_balloon_stats *ret, struct err *e);
int vmm_set_memory(struct vmm *vm, uint64_t requested, struct err *e);
int vmm_memory_status(struct vmm *vm, struct vmm_memory_status *ret, struct err *e);
/* *ret: what is there afterwards; the guest brings CPUs on line and takes them off by itself. */
int vmm_set_vcpus(struct vmm *vm, uint32_t vcpus, uint32_t *ret, struct err *e);

/* Load the kernel, start the threads, run the guest. On failure nothing runs and vmm_free() is what is left. */
int vmm_start(struct vmm *vm, struct err *e);
int vmm_pause(struct vmm *vm, struct err *e);
int vmm_resume(struct vmm *vm, struct err *e);
/* Press the power button: ACPI's, on arm64 a key that the device tree tells of. */
int vmm_power_button(struct vmm *vm, struct err *e);
/* Ctrl-Alt-Del on the keyboard controller (x86). */
int vmm_ctrl_alt_del(struct vmm *vm, struct err *e);
/* End the VM now. Idempotent. */
void vmm_stop(struct vmm *vm);

enum vmm_state { VMM_NEW, VMM_RUNNING, VMM_PAUSED, VMM_ENDED };
enum vmm_state vmm_state(const struct vmm *vm);

enum vmm_end {
	VMM_END_NONE,
	VMM_END_POWEROFF, /* the guest switched itself off */
	VMM_END_RESET,    /* it asked for a reset: reboot, triple fault, keyboard controller */
	VMM_END_PANIC,    /* pvpanic told of a panic before the end */
	VMM_END_STOPPED,  /* vmm_stop() */
	VMM_END_ERROR,    /* KVM or the monitor could not go on: see text */
};
struct vmm_exit {
	enum vmm_end end;
	char text[768]; /* what the guest did, with registers where that helps; "" when end says it all */
};
/* Readable (POLLIN) once the VM has ended; owned by the VM. */
int vmm_exit_fd(const struct vmm *vm);
void vmm_exit_info(const struct vmm *vm, struct vmm_exit *ret);

/* Thread ids of the vCPUs, at most max; returns how many there are. */
size_t vmm_vcpu_threads(const struct vmm *vm, pid_t *ret, size_t max);

/*
 * What devices and vCPUs have done since they were made, as numbers that only grow; in a restored VM they begin at 0.
 * fn is called for each number, and may call nothing of this VM.
 */
struct vmm_count {
	const char *kind; /* "block", "net", "vsock", "fs", "rng", "balloon", "memory", "pmem", "console", "vcpu" */
	const char *id;   /* of the device; of a vCPU its number */
	const char *name; /* of what: "read_bytes", "exit_io_in" …; outlives the VM, as does kind */
	uint64_t value;
};
void vmm_stats(struct vmm *vm, void (*fn)(void *userdata, const struct vmm_count *c), void *userdata);

/*
 * Snapshots (the VM is paused, else -EBUSY). diff: only pages written since the last snapshot or the start, at the same
 * offsets; needs track_dirty. Both files appear whole and durable, or not at all, and after a failure the VM is as it
 * was. Disks are not copied: nothing of the guest is on its way to them, but what it has not flushed may be in the
 * host's cache. A VM with a shared folder (fs) cannot be saved.
 */
struct vmm_snapshot {
	const char *state_path, *memory_path;
	bool diff;
	const char *note; /* anything, for who restores it: vmm_note(); NULL: nothing */
};
int vmm_snapshot(struct vmm *vm, const struct vmm_snapshot *c, struct err *e);

struct vmm_restore {
	const char *state_path;
	const char *memory_path; /* mapped MAP_PRIVATE: clones share its pages; it must not change any more */
	const char *uffd_socket; /* or: a page server gets the regions and a userfaultfd (Firecracker's handshake) */
	bool track_dirty;
	int serial_in, serial_out; /* -1: none */
	bool seccomp;
	/* Replace what a clone must not share: n pairs of device id and new path (block file, tap, vsock socket). */
	struct vmm_override {
		const char *id, *path;
	} const *overrides;
	size_t n_overrides;
};
/*
 * A paused VM out of a snapshot. The guest gets a new generation id and the present time (on arm64 in the real-time
 * clock only: its other clocks go on where they stood until it reads that); vsock connections are reset. Refused with
 * the reason: damaged, foreign and newer files, a memory that is not the state's, another architecture or vendor of
 * processor, features or a TSC frequency that this host cannot give. Devices open the paths that the state names, or
 * the overrides: a snapshot is trusted with that. What had been handed in as a descriptor needs an override; a console
 * has no descriptors any more. Memory that is shared with other processes is copied from the file, and large pages are
 * only kept when it is copied or comes from a page server.
 */
int vmm_restore(const struct vmm_restore *c, struct vmm **ret, struct err *e);
/* The note of the snapshot that the VM comes from, as long as the VM; NULL: there is none. As trusted as the file. */
const char *vmm_note(const struct vmm *vm);

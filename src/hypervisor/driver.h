/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor interface: one table of functions and one capability record per driver.
 *
 * A VM goes prepare → start → (add_device, resize, pause, …) → stop → free. `pod/` asks the capability record what is
 * possible and never the driver's name; nothing outside a driver's folder mentions a particular hypervisor.
 *
 * Every function is called from one thread (the owner of the VM), is bounded in time, and on failure leaves the VM as
 * it was, or (prepare, start) with nothing running. The VMM process dies with the process that owns the VM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"
#include "config/config.h"
#include "loop/loop.h"

struct console;
struct vm; /* one virtual machine; each driver has its own structure that begins with `struct vm` (see below) */

/* How the agent's device arrives in the guest: decides the agent's Storage.driver and Device.type. */
enum vm_address_kind {
	VM_ADDRESS_NONE,
	VM_ADDRESS_PCI,    /* "02/01": slots from the root, hex, as the agent protocol writes them */
	VM_ADDRESS_SCSI,   /* "id:lun" */
	VM_ADDRESS_DEVICE, /* "/dev/vda" */
	VM_ADDRESS_PMEM,   /* "/dev/pmem0" */
};

struct vm_block {
	char *path; /* raw image file or block device on the host */
	bool readonly;
	bool discard;
	char *serial; /* "" or at most 20 bytes */
};

struct vm_net {
	char *mode;   /* "tap", "user" (the VMM's own user-mode stack), "passt" */
	char *tap;    /* tap: name of an existing interface in the VMM's network namespace */
	int *tap_fds; /* or open queue descriptors (owned by the device; closed after use) */
	size_t n_tap_fds;
	char mac[18];        /* "02:…"; "" lets the driver choose */
	uint32_t mtu;        /* 0: default */
	char *socket;        /* passt: its Unix socket */
	struct strv publish; /* user, passt: "tcp:HOSTIP:HOSTPORT:GUESTPORT" */
};

struct vm_fs {
	char *tag;     /* "kataShared" */
	char *socket;  /* vhost-user-fs: Unix socket of the server */
	char *path;    /* virtio-9p: host directory served by the VMM itself */
	bool readonly; /* 9p only */
	uint32_t queue_size;
};

/* A device of the host that vfio-pci holds. */
struct vm_vfio {
	char *path; /* "/sys/bus/pci/devices/0000:01:00.0" */
};

enum vm_device_kind { VM_DEVICE_BLOCK, VM_DEVICE_NET, VM_DEVICE_FS, VM_DEVICE_9P, VM_DEVICE_VFIO };

struct vm_device {
	enum vm_device_kind kind;
	char *id; /* unique in the VM: [a-z0-9-]{1,32} */
	union {
		struct vm_block block;
		struct vm_net net;
		struct vm_fs fs;
		struct vm_vfio vfio;
	} u;
	/* Filled by the driver when the device is there. */
	enum vm_address_kind address_kind;
	char address[64];
};

void vm_device_free(struct vm_device *device);

/* Everything that is decided about a VM before it exists. Owned by the plan; outlives the VM. */
struct vm_config {
	char *id;
	char *run_dir; /* private directory for sockets and logs, made by the caller, removed by the caller */
	char *kernel;  /* absolute paths */
	char *initrd;  /* "" or path; exclusive with image */
	char *image;   /* "" or path: guest root file system image */
	struct strv kernel_params; /* complete command line but for what only the driver knows (console, root=) */
	uint32_t vcpus, max_vcpus;
	uint64_t memory_mib, max_memory_mib;
	bool fixed_devices;   /* none is added while it runs: no room is made for them */
	bool shared_memory;   /* a vhost-user device or the like needs it */
	bool console_log;     /* keep the guest console in run_dir/console.log (bounded) */
	bool use_vhost_vsock; /* the host kernel's vsock (vhost) instead of our own back end, where there is a choice */
	uint32_t start_timeout_ms; /* how long the VMM itself may take to come up; 0: the driver's own bound */
	const char *netns;         /* path of the network namespace the VMM runs in; NULL: the caller's */
	const struct config_hypervisor *hv;
	const struct config_agent *agent;
};

/* What a driver can do here, with this configuration. Everything false unless stated. */
struct vm_capabilities {
	bool block, block_hotplug, block_discard, block_resize;
	bool net_hotplug, net_user, net_passt;
	bool fs_sharing; /* virtio-fs by a vhost-user server */
	bool fs_sharing_9p;
	bool cpu_hotplug, memory_hotplug;
	bool pause, snapshot;
	bool balloon;
	bool vfio, tdx, sev_snp;
	bool image_boot, initrd_boot;
	bool multi_queue_net;
	bool tap_fds; /* takes taps as open descriptors; else by their names, in vm_config.netns */
};

/* For `caisson check` and `caisson hypervisors`: is it usable on this host, and if not, why. */
struct vm_host_report {
	bool usable;
	char path[256], version[64];
	char acceleration[16];  /* "kvm", "emulated", "" */
	char reason[256];       /* why not usable, or why only emulated; "" when all is well */
	char architectures[64]; /* "x86_64 aarch64" */
	struct vm_capabilities can;
	char why_not[512]; /* "vfio: no /dev/vfio/vfio; tdx: …": one clause for each missing capability */
};

struct vm_process_info {
	pid_t vmm_pid;
	pid_t vcpu_tids[64];
	size_t n_vcpus;
};

/*
 * A number of the VM's that only grows. kind: "block", "net", "vcpu" …, "device" when the VMM does not tell; id: our id
 * of the device, the VMM's own name, or a vCPU's number; name: "read_bytes" … All are valid during the call.
 */
typedef void (*vm_counter_fn)(const char *kind, const char *id, const char *name, uint64_t value, void *userdata);

struct hypervisor_driver {
	const char *name;                 /* as in [hypervisor.NAME] and --hypervisor */
	const char *const *aliases;       /* NULL-terminated */
	const char *const *honoured_keys; /* [hypervisor.*] keys that take effect with this driver; NULL-terminated */
	bool needs_kvm;                   /* it runs guests on KVM only */
	/*
	 * What the VMM and its helpers may take from the host beside guest memory, MiB: twice what an idle one was
	 * charged (deploy/measure-overhead). 0: nobody has measured it.
	 */
	uint32_t vmm_memory_mib;
	bool no_elf_kernel; /* it boots a bzImage (arm64: Image), and no ELF file */

	/* Look at the host; hv names the binary. Starts nothing that outlives the call. */
	int (*check)(const struct config_hypervisor *hv, struct vm_host_report *ret, struct err *e);
	void (*capabilities)(const struct config_hypervisor *hv, struct vm_capabilities *ret);
	/* The command line or requests that start() will use, for --dry-run. One string per argument. */
	int (*describe)(const struct vm_config *c, struct vm_device *const *devices, size_t n, struct strv *ret,
			struct err *e);

	/* Allocate the VM and what must exist before it runs. loop: events of the VM are served there. */
	int (*prepare)(struct loop *loop, const struct vm_config *c, struct vm **ret, struct err *e);
	/*
	 * Before start: cold-plug. After: hot-plug. The driver keeps no reference to `device` but fills its address.
	 * -ETIMEDOUT: it may be there or come yet; remove_device() finds that out, and so does another add_device().
	 */
	int (*add_device)(struct vm *vm, struct vm_device *device, struct err *e);
	/*
	 * Out of the running VM. -EBUSY, -ETIMEDOUT: the guest has not let go; try again later, it may have by then.
	 * -ENODEV, -ENOTSUP: this device stays for as long as the VM.
	 */
	int (*remove_device)(struct vm *vm, const char *id, struct err *e);
	int (*start)(struct vm *vm, struct err *e);
	int (*pause)(struct vm *vm, struct err *e);
	int (*resume)(struct vm *vm, struct err *e);
	/* dir: existing empty directory. */
	int (*save)(struct vm *vm, const char *dir, struct err *e);
	int (*restore)(struct vm *vm, const char *dir, struct err *e);
	/* ret: what is plugged afterwards (may differ from what was asked for). */
	int (*resize_vcpus)(struct vm *vm, uint32_t vcpus, uint32_t *ret, struct err *e);
	int (*resize_memory)(struct vm *vm, uint64_t mib, uint64_t *ret, struct err *e);
	/* The disk's medium has another size now: show it to the guest. NULL: it cannot (block_resize). */
	int (*resize_block)(struct vm *vm, const struct vm_device *disk, struct err *e);
	int (*info)(struct vm *vm, struct vm_process_info *ret, struct err *e);
	/*
	 * What the devices and vCPUs of a running VM have counted, for metrics; fn may call nothing of the VM. NULL:
	 * this VMM does not tell on request.
	 */
	int (*counters)(struct vm *vm, vm_counter_fn fn, void *userdata, struct err *e);
	/* Behind vm_explain_exit(): without the console lines, which it adds. Returns -e->code. */
	int (*explain_exit)(struct vm *vm, struct err *e);
	/* Ask politely for grace_ms, then kill. Idempotent; 0 also when the VM was gone. */
	int (*stop)(struct vm *vm, int grace_ms, struct err *e);
	/* Stop if need be and release everything. NULL does nothing. */
	void (*free)(struct vm *vm);
};

/* The common part of every VM; drivers embed it first. */
struct vm {
	const struct hypervisor_driver *driver;
	const struct vm_config *config;
	/* "hvsock:PATH" (Unix socket, CONNECT protocol) or "vsock:CID"; valid after prepare(). */
	char agent_address[128];
	/* Readable once the VM has ended; valid after start(), owned by the driver; -1 before. */
	int exit_fd;
	/* Set by the owner after prepare(): once readable, vm_connect() gives up with -ECANCELED; -1: none. */
	int interrupt_fd;
	/* Set by the owner: remove_device() waits for the guest no longer; 0: than the driver's own bound. */
	unsigned unplug_ms;
	/* The guest's console, owned by the driver; NULL before start(). */
	struct console *console;
};

/*
 * After exit_fd became readable: a sentence on how the VM ended, with the last console lines. Returns -code.
 * Domain ERR_GUEST when the guest ended itself (panic, reboot, power-off), else ERR_HYPERVISOR.
 */
int vm_explain_exit(struct vm *vm, struct err *e);

/* Has the VM ended, or does it within timeout_ms? False also before start(). */
bool vm_wait_exit(const struct vm *vm, int timeout_ms);

/* How long remove_device() waits. own: the driver's bound. */
static inline unsigned vm_unplug_ms(const struct vm *vm, unsigned own)
{
	return vm->unplug_ms && vm->unplug_ms < own ? vm->unplug_ms : own;
}

/*
 * Connect to a vsock port of the guest, trying again while nobody listens there. deadline: clock_ms() value. 0 and a
 * blocking socket in *ret_fd; -ETIMEDOUT; when the VM ends meanwhile, what vm_explain_exit() says, at once.
 */
int vm_connect(struct vm *vm, uint32_t port, uint64_t deadline_ms, int *ret_fd, struct err *e);
/* The same by address string, for another process than the VM's owner. */
int vm_connect_address(const char *address, uint32_t port, uint64_t deadline_ms, int *ret_fd, struct err *e);

/* name or alias → driver; NULL: unknown. */
const struct hypervisor_driver *hypervisor_find(const char *name);
/* All drivers, NULL-terminated, in order of preference. */
const struct hypervisor_driver *const *hypervisor_list(void);

/*
 * The one to take when nobody names one: the first that this host can run, else the last of the list. Starts nothing:
 * whether a driver's program works shows when it is used.
 */
const struct hypervisor_driver *hypervisor_default(void);

/* Can this host's KVM run an ordinary guest? why: a sentence when it cannot. */
bool hypervisor_kvm_usable(char *why, size_t size);

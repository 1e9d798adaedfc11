/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan of a sandbox and of each container in it: everything decided, nothing done yet. plan_build() only reads;
 * sandbox.c carries the plan out; plan_print() shows it for --dry-run, each host-side action with its undo. Tests
 * compare plans without starting anything.
 *
 * A sandbox is planned together with its first container, whose spec says how large it is. Later ones are planned by
 * plan_add_container() while it runs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"
#include "config/config.h"
#include "hypervisor/driver.h"
#include "pod/rootfs_image.h"
#include "pod/share.h"
#include "proto/agent.pb-c.h"

/* Paths in the guest, as Kata's agent protocol has them. */
#define GUEST_RUN_DIR   "/run/kata-containers"
#define GUEST_SHARE_DIR GUEST_RUN_DIR "/shared/containers"
#define GUEST_SHARE_TAG "kataShared"
#define GUEST_SHM_DIR   GUEST_RUN_DIR "/sandbox/shm"

/* Where our agent finds what its initramfs has not of the kernel's modules: an item of the share (agent/modprobe.h). */
#define GUEST_MODULES     "guest-modules"
#define GUEST_MODULES_DIR GUEST_SHARE_DIR "/" GUEST_MODULES

/* Our agent's driver for a part of another storage; nobody is led out of that by links in it. */
#define PLAN_SUBPATH_DRIVER "caisson.subpath"

/* One file system that the agent mounts (Storage of the agent protocol). */
struct plan_storage {
	char *driver, *source, *fstype, *mount_point;
	struct strv options, driver_options;
	const struct vm_device *device; /* whose guest address becomes the source; NULL: source is complete */
	/* The files become this group's: always, or when the folder's is another. */
	bool has_fs_group, fs_group_on_mismatch;
	uint32_t fs_group;
};

/* A NIC as the guest sees it. */
struct plan_interface {
	char *name, *mac, *address, *gateway;
	uint32_t prefix;
	uint32_t mtu;
};

/* A host path that the container sees at target. */
struct plan_volume {
	char *source, *target;
	bool readonly;
};

/*
 * What our agent can do beyond Kata's protocol, as it tells among its extra features: a namespace's path may be
 * "container:ID", that of another container's first process, or "private", a new one where the sandbox has one for all.
 */
#define PLAN_JOIN_FEATURE   "caisson.join"
#define PLAN_JOIN_CONTAINER "container:"
#define PLAN_JOIN_PRIVATE   "private"

/*
 * Of a container that is in the VM of another one, and no more of a pod than it asked for (pod/pod_join.h): paths for
 * our agent. NULL: a PID namespace of its own, the sandbox's IPC and UTS namespaces, the sandbox's /dev/shm.
 * in_pod: it is one of a pod's all the same, and shares its PID namespace as those do.
 */
struct plan_sharing {
	bool in_pod;
	const char *pid, *ipc, *uts;
	const char *shm; /* id of the container that has this /dev/shm first */
};

struct pod_network;
struct sizing;

/*
 * What is asked for. All pointers are borrowed but spec, which plan_build() and plan_add_container() take over in any
 * case. The sandbox's own (sandbox_id, run_dir, config, driver, size, net, network, publish, hostname, dns) are not
 * looked at by plan_add_container().
 */
struct plan_request {
	const char *id;
	const char *sandbox_id; /* NULL: id */
	const char *run_dir;
	const struct config *config;
	const struct hypervisor_driver *driver;
	Grpc__Spec *spec;     /* process, namespaces, mounts; its root is set here */
	const char *bundle;   /* the folder whose config.json spec is; NULL: it was made for this machine */
	bool sandbox_only;    /* plan_build(): without a container; spec is the pod's */
	bool pod;             /* of a client that manages pods: hooks are run by the caller, and Kata's rules for
				 volumes, namespaces and resources apply */
	const char *rootfs;   /* a directory, or an ext4, xfs or erofs image file */
	bool rootfs_writable; /* writes go to the host's rootfs instead of a layer that is thrown away */
	bool rootfs_private;  /* writable, a directory: they go to a disk that is made of it, and thrown away */
	/* With pod: what it shares of its own accord; NULL: whatever its namespaces' paths name is the pod's. */
	const struct plan_sharing *sharing;
	const struct plan_volume *volumes;
	size_t n_volumes;
	const struct sizing *size;   /* of the VM; NULL: as the spec and the configuration say */
	const char *net;             /* "none", "user", "passt", "tap:NAME" */
	struct pod_network *network; /* a namespace's interfaces, instead of net; outlives the plan; NULL: net */
	const char *netns;           /* that the VMM runs in; NULL: ours */
	const struct strv *publish;  /* "[HOSTIP:]HOSTPORT:PORT[/tcp|udp]" */
	const char *hostname;        /* NULL: the id */
	const char *dns;             /* NULL: the network's own */
	const char *direct_dir;      /* NULL: DIRECT_VOLUMES_DIR */
};

/* A device of the spec whose numbers the guest's agent puts in (Device of the agent protocol). */
struct plan_block {
	struct vm_device *device;
	char *container_path;
};

/* A volume of the pod that is a disk, or a block device, and how many containers have it. See pod/plan_direct.h. */
struct plan_direct {
	char *source, *where; /* on the host; in the guest. NULL: of a block device */
	dev_t number;         /* of that */
	struct vm_device *device;
	unsigned holders;
};

/* One container in the plan of its sandbox. */
struct plan_container {
	char *id;
	Grpc__Spec *spec;
	struct plan_storage *storages;
	size_t n_storages;
	struct vm_device **devices; /* those of plan.devices that are for it; borrowed */
	size_t n_devices;
	struct plan_block *blocks; /* devices of the spec that are block devices of the host */
	size_t n_blocks;
	struct strv items; /* its items of the share */
	char *pack;        /* directory that becomes the image of the device pack_device; NULL: none */
	enum rootfs_image_kind pack_as;
	struct vm_device *pack_device;
	int image_fd; /* while it runs: that image */
	bool share_pidns;
	bool sync_guest;   /* the guest must write back before the VM is killed */
	bool there, cold;  /* while it runs: items and devices have been given to the VM; cold: before its start */
	struct strv notes; /* as plan.notes, of a container that came later */
};

struct plan {
	char *id, *hostname;
	struct strv dns;
	const struct hypervisor_driver *driver;
	const struct config *config;
	struct vm_config vm;
	struct share share;
	struct vm_device **devices;
	size_t n_devices;
	unsigned n_disks; /* how many were ever planned: their names are unique */
	struct plan_direct *direct;
	size_t n_direct;
	struct plan_storage *sandbox_storages;
	size_t n_sandbox_storages;
	struct plan_interface *interfaces;
	size_t n_interfaces;
	struct pod_network *network;      /* borrowed; NULL: none but interfaces. See pod/nics.h */
	char *netns;                      /* that vm.netns names */
	struct plan_container *container; /* the one that the sandbox starts with; its notes are in notes */
	char *passt_socket;               /* NULL: no passt */
	struct strv publish;
	bool subpaths;      /* while it runs: the guest's agent has PLAN_SUBPATH_DRIVER */
	bool sandbox_pidns; /* the guest keeps a PID namespace for containers that share one */
	bool sync_guest;    /* the guest must write back before the VM is killed */
	struct strv notes;  /* sentences for the user: what differs from what was asked for */
};

/*
 * The [hypervisor.*] keys that plans honour for every driver, and those of other tables as "agent.NAME"; both
 * NULL-terminated. What takes effect only where a driver can do something (hot-plug, a kind of sharing) is among the
 * driver's own. For config_warn_ineffective().
 */
extern const char *const plan_hypervisor_keys[];
extern const char *const plan_other_keys[];

/* A sandbox with its first container. */
int plan_build(const struct plan_request *request, struct plan **ret, struct err *e);
/*
 * One container more. Its devices are in the plan's list, its items in the share, until plan_container_free(). *ret is
 * the caller's, and ends before the plan.
 */
int plan_add_container(struct plan *p, const struct plan_request *request, struct plan_container **ret, struct err *e);
/* NULL does nothing. The devices must have left the VM before. */
void plan_container_free(struct plan *p, struct plan_container *c);
void plan_free(struct plan *p);
DEFINE_CLEANUP(struct plan *, plan_free)

/* For --dry-run: what would be done, each host-side action with its undo, and the VMM's command line. */
int plan_print(const struct plan *p, struct buf *out, struct err *e);

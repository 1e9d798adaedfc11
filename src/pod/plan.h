/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan of a sandbox: everything decided, nothing done yet. plan_build() only reads; sandbox.c carries the plan out;
 * plan_print() shows it for --dry-run, each host-side action with its undo. Tests compare plans without starting
 * anything.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

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

/* One file system that the agent mounts (Storage of the agent protocol). */
struct plan_storage {
	char *driver, *source, *fstype, *mount_point;
	struct strv options, driver_options;
	int device; /* index into plan.devices whose guest address becomes the source; -1: source is complete */
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

/* What is asked for. All pointers are borrowed but spec, which plan_build() takes over in any case. */
struct plan_request {
	const char *id;
	const char *run_dir;
	const struct config *config;
	const struct hypervisor_driver *driver;
	Grpc__Spec *spec;     /* process, namespaces, mounts; its root is set here */
	const char *bundle;   /* the folder whose config.json spec is; NULL: it was made for this machine */
	const char *rootfs;   /* a directory, or an ext4, xfs or erofs image file */
	bool rootfs_writable; /* writes go to the host's rootfs instead of a layer that is thrown away */
	bool rootfs_private;  /* writable, a directory: they go to a disk that is made of it, and thrown away */
	const struct plan_volume *volumes;
	size_t n_volumes;
	const char *net;            /* "none", "user", "passt", "tap:NAME" */
	const struct strv *publish; /* "[HOSTIP:]HOSTPORT:PORT[/tcp|udp]" */
	const char *hostname;       /* NULL: the id */
	const char *dns;            /* NULL: the network's own */
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
	struct plan_storage *sandbox_storages, *container_storages;
	size_t n_sandbox_storages, n_container_storages;
	struct plan_interface *interfaces;
	size_t n_interfaces;
	Grpc__Spec *spec;
	char *pack; /* directory that becomes the image of the device "rootfs"; NULL: none */
	enum rootfs_image_kind pack_as;
	char *passt_socket; /* NULL: no passt */
	struct strv publish;
	bool sync_guest;   /* the guest must write back before the VM is killed */
	struct strv notes; /* sentences for the user: what differs from what was asked for */
};

/*
 * The [hypervisor.*] keys that plans honour for every driver, and those of other tables as "agent.NAME"; both
 * NULL-terminated. What takes effect only where a driver can do something (hot-plug, a kind of sharing) is among the
 * driver's own. For config_warn_ineffective().
 */
extern const char *const plan_hypervisor_keys[];
extern const char *const plan_other_keys[];

int plan_build(const struct plan_request *request, struct plan **ret, struct err *e);
void plan_free(struct plan *p);
DEFINE_CLEANUP(struct plan *, plan_free)

/* For --dry-run: what would be done, each host-side action with its undo, and the VMM's command line. */
int plan_print(const struct plan *p, struct buf *out, struct err *e);

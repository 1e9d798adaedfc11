/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The microVM of this process: its configuration, the VM once there is one, and what tells about them.
 *
 * It is in one of two phases. Before the start requests only fill the configuration; InstanceStart or snapshot/load
 * make the VM, and from then on requests act on it. A start that fails leaves the first phase as it was; a load that
 * fails ends the process (`fatal`), after its answer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "caisson/vmm.h"
#include "vmm/config.h"
#include "vmm/logger.h"
#include "vmm/metrics.h"

/* The version of the API that we speak; clients parse it. */
#define API_VERSION "1.16.0"

struct instance {
	const char *id;
	bool pci; /* devices on PCI instead of virtio-mmio */
	bool seccomp;
	bool boot_timer, kernel_constant, split_irqchip; /* as in struct vmm_config */
	int serial_in, serial_out; /* of the serial port, unless the configuration names a file; -1: none */
	int serial_fd;             /* that file; -1: none */

	struct config config;
	struct logger logger;
	struct metrics metrics;

	struct vmm *vm; /* NULL: before the start */
	bool boot_path; /* something was configured that a snapshot brings by itself */
	bool unknown; /* the VM comes from a snapshot that another program made, and config does not tell what it is */
	bool fatal;   /* the process has to end with an error */
	uint64_t start_time_us, start_time_cpu_us, parent_cpu_time_us; /* as the jailer measured; 0: not told */

	/* Called once there is a VM. */
	void (*on_vm)(struct instance *i, void *userdata);
	void *userdata;
};

void instance_init(struct instance *i, const char *id);
/* Ends the VM, too. */
void instance_fini(struct instance *i);

/* Make the VM of the configuration and start it. e: without class. */
int instance_start(struct instance *i, struct err *e);
/* Make the VM of a snapshot, paused, or running if asked for. Sets fatal on failure. */
int instance_load(struct instance *i, const struct snapshot_load *l, struct err *e);

int instance_pause(struct instance *i, struct err *e);
int instance_resume(struct instance *i, struct err *e);

/* "Not started", "Running", "Paused". */
const char *instance_state(const struct instance *i);

int instance_flush_metrics(struct instance *i, struct err *e);

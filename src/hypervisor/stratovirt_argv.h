/* SPDX-License-Identifier: Apache-2.0 */
/*
 * StratoVirt's command line as a pure function of the configuration, the devices and what the host offers, so that
 * tests compare whole command lines and --dry-run prints the real one. Nothing here opens or starts anything.
 *
 * Its options look like QEMU's and are stricter: a value ends at a comma or an equals sign, with no way to quote one,
 * so that a path with such a character is refused here.
 *
 * microvm has virtio-mmio devices, told to the guest's kernel on its command line (which takes a kernel with
 * CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES). Four disks and two network cards are always there; one that is plugged in takes
 * the place of an empty one. q35 and virt have PCI: cold-plugged devices are on pcie.0 from slot 1 upwards in order of
 * appearance, those that are plugged in later behind root ports of which each holds one.
 */
#pragma once

#include "hypervisor/driver.h"
#include "hypervisor/options.h"

enum stratovirt_machine { STRATOVIRT_MICROVM, STRATOVIRT_Q35, STRATOVIRT_VIRT };

/* What the host and this StratoVirt offer. */
struct stratovirt_facts {
	char path[256];
	char arch[16]; /* of the guest, which is the host's: "x86_64", "aarch64" */
	unsigned major, minor;
};

/* Descriptors that StratoVirt inherits; the numbers appear in its command line. */
struct stratovirt_fds {
	int console; /* writing end of a pipe: guest console */
	int vsock;   /* open /dev/vhost-vsock with the CID set */
	uint32_t guest_cid;
};

#define STRATOVIRT_DISKS     4 /* places of microvm */
#define STRATOVIRT_NICS      2
#define STRATOVIRT_MMIO      5 /* other devices that microvm has interrupts for */
#define STRATOVIRT_PORTS     4 /* root ports for each of default_bridges */
#define STRATOVIRT_PORTS_MAX (5 * STRATOVIRT_PORTS)

struct stratovirt_layout {
	enum stratovirt_machine machine;
	uint32_t slots;   /* bit n: slot n of pcie.0 is taken */
	unsigned n_mmio;  /* microvm: devices besides disks and network cards */
	uint32_t disks;   /* microvm: bit n: place n is taken */
	uint32_t nics;    /* the same */
	uint32_t ports;   /* bit n: something is behind root port n */
	unsigned n_ports; /* root ports there are */
	unsigned first_port_slot;
};

struct stratovirt_plan {
	const struct vm_config *config;
	const struct stratovirt_facts *facts;
	struct stratovirt_layout layout;
	struct strv builtin; /* arguments of the devices that the configuration asks for */
	struct strv devices; /* arguments of cold-plugged devices */
	char *monitor;       /* QMP's Unix socket */
	int vsock_slot;
};

/* Checks the configuration and places the built-in devices. plan: zeroed. */
int stratovirt_plan_init(struct stratovirt_plan *plan, const struct vm_config *c, const struct stratovirt_facts *f,
			 struct err *e);
void stratovirt_plan_fini(struct stratovirt_plan *plan);
/* Append the arguments of a cold-plugged device to plan->devices and fill its address. */
int stratovirt_plan_device(struct stratovirt_plan *plan, struct vm_device *device, struct err *e);
/* The whole command line, argv[0] included. */
int stratovirt_argv(const struct stratovirt_plan *plan, const struct stratovirt_fds *fds, struct strv *ret,
		    struct err *e);

/* --- pieces shared by the stratovirt_*.c files --- */

int stratovirt_machine_parse(const struct config_hypervisor *hv, const char *arch, enum stratovirt_machine *ret,
			     struct err *e);
/* How many root ports for later devices this configuration gives. */
unsigned stratovirt_ports(const struct config_hypervisor *hv, enum stratovirt_machine machine);
/* Take a place for a device that is no disk or network card of microvm: ",bus=…,addr=…" or "". */
int stratovirt_place(struct stratovirt_layout *l, char *ret, size_t size, int *slot, struct err *e);
/* "device" or "pci": the end of the names of virtio devices. */
const char *stratovirt_transport(const struct stratovirt_layout *l);
/* Can it be a value on the command line? what: "disk root". */
int stratovirt_check_path(const char *what, const char *path, struct err *e);
/* "0000:00:02" → "02/00": where the device behind root port n is, as the agent protocol writes it. */
void stratovirt_port_address(const struct stratovirt_layout *l, unsigned port, struct vm_device *d);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device model may ask of the machine that it is in: interrupts, kicks and memory. The machine (vm/) implements
 * it on KVM, tests implement it in plain memory; device models know neither.
 *
 * Interrupts and kicks are eventfds, so that the kernel moves them without waking a thread: a device writes its
 * interrupt's eventfd, the guest's kick makes the queue's eventfd readable. All functions may be called from the thread
 * that holds the device's loop (loop_enter). They return 0 or -errno.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guestmem/guestmem.h"

enum bus_space { BUS_MMIO, BUS_PIO };

struct platform;

struct platform_ops {
	/* From now on a write to eventfd fd is an edge on interrupt line gsi. fd stays the caller's. */
	int (*irq_attach)(struct platform *p, uint32_t gsi, int fd);
	void (*irq_detach)(struct platform *p, uint32_t gsi, int fd);

	/*
	 * From now on a write to fd is this message. requester: PCI bus/device/function, for interrupt controllers that
	 * look at it. *ret: handle for the other two.
	 */
	int (*msi_attach)(struct platform *p, int fd, uint64_t address, uint32_t data, uint32_t requester,
			  uint32_t *ret);
	int (*msi_update)(struct platform *p, uint32_t handle, uint64_t address, uint32_t data);
	void (*msi_detach)(struct platform *p, uint32_t handle, int fd);

	/*
	 * A guest's write of len bytes (0: any) at addr makes fd readable instead of reaching the bus; match: only of
	 * this value (NULL: any).
	 */
	int (*kick_attach)(struct platform *p, enum bus_space space, uint64_t addr, uint32_t len, const uint64_t *match,
			   int fd);
	void (*kick_detach)(struct platform *p, enum bus_space space, uint64_t addr, uint32_t len,
			    const uint64_t *match, int fd);

	/* Show host memory to the guest at gpa (page-aligned), outside of its RAM. Not part of guestmem. */
	int (*map)(struct platform *p, gpa_t gpa, uint64_t size, void *host, bool readonly);
	int (*unmap)(struct platform *p, gpa_t gpa, uint64_t size);
};

struct platform {
	const struct platform_ops *ops;
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine without KVM, for tests and fuzzers only: it keeps what devices attach, and plays the guest's side of it.
 */
#pragma once

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "hw/bus.h"
#include "hw/platform.h"

#define FAKE_PLATFORM_MAX 512

struct fake_kick {
	enum bus_space space;
	uint64_t addr, match;
	uint32_t len;
	bool any;
	int fd; /* -1: free */
};

struct fake_msi {
	uint64_t address;
	uint32_t data, requester;
	int fd; /* -1: free */
};

struct fake_platform {
	struct platform platform;
	struct fake_kick kicks[FAKE_PLATFORM_MAX];
	struct fake_msi msis[FAKE_PLATFORM_MAX];
	int irqs[32];     /* by line; -1: not attached */
	bool fail_kicks;  /* kick_attach says no */
	unsigned updates; /* msi_update calls */
};

static inline int fake_irq_attach(struct platform *p, uint32_t gsi, int fd)
{
	struct fake_platform *f = (struct fake_platform *)(void *)p;

	if (gsi >= 32 || f->irqs[gsi] >= 0)
		return -EINVAL;
	f->irqs[gsi] = fd;
	return 0;
}

static inline void fake_irq_detach(struct platform *p, uint32_t gsi, int fd)
{
	struct fake_platform *f = (struct fake_platform *)(void *)p;

	if (gsi >= 32 || f->irqs[gsi] != fd)
		abort();
	f->irqs[gsi] = -1;
}

static inline int fake_msi_attach(struct platform *p, int fd, uint64_t address, uint32_t data, uint32_t requester,
				  uint32_t *ret)
{
	struct fake_platform *f = (struct fake_platform *)(void *)p;

	for (uint32_t i = 0; i < FAKE_PLATFORM_MAX; i++) {
		if (f->msis[i].fd < 0) {
			f->msis[i] = (struct fake_msi){ address, data, requester, fd };
			*ret = i;
			return 0;
		}
	}
	return -ENOSPC;
}

static inline int fake_msi_update(struct platform *p, uint32_t handle, uint64_t address, uint32_t data)
{
	struct fake_platform *f = (struct fake_platform *)(void *)p;

	if (handle >= FAKE_PLATFORM_MAX || f->msis[handle].fd < 0)
		abort();
	f->msis[handle].address = address;
	f->msis[handle].data = data;
	f->updates++;
	return 0;
}

static inline void fake_msi_detach(struct platform *p, uint32_t handle, int fd)
{
	struct fake_platform *f = (struct fake_platform *)(void *)p;

	if (handle >= FAKE_PLATFORM_MAX || f->msis[handle].fd != fd)
		abort();
	f->msis[handle].fd = -1;
}

static inline int fake_kick_attach(struct platform *p, enum bus_space space, uint64_t addr, uint32_t len,
				   const uint64_t *match, int fd)
{
	struct fake_platform *f = (struct fake_platform *)(void *)p;

	for (unsigned i = 0; i < FAKE_PLATFORM_MAX && !f->fail_kicks; i++) {
		if (f->kicks[i].fd < 0) {
			f->kicks[i] = (struct fake_kick){ space, addr, match ? *match : 0, len, !match, fd };
			return 0;
		}
	}
	return -ENOSPC;
}

static inline void fake_kick_detach(struct platform *p, enum bus_space space, uint64_t addr, uint32_t len,
				    const uint64_t *match, int fd)
{
	struct fake_platform *f = (struct fake_platform *)(void *)p;

	for (unsigned i = 0; i < FAKE_PLATFORM_MAX; i++) {
		struct fake_kick *k = &f->kicks[i];

		if (k->fd == fd && k->space == space && k->addr == addr && k->len == len && k->any == !match &&
		    (k->any || k->match == *match)) {
			k->fd = -1;
			return;
		}
	}
	abort();
}

static inline void fake_platform_init(struct fake_platform *f)
{
	static const struct platform_ops ops = {
		.irq_attach = fake_irq_attach,
		.irq_detach = fake_irq_detach,
		.msi_attach = fake_msi_attach,
		.msi_update = fake_msi_update,
		.msi_detach = fake_msi_detach,
		.kick_attach = fake_kick_attach,
		.kick_detach = fake_kick_detach,
	};

	*f = (struct fake_platform){ .platform.ops = &ops };
	for (unsigned i = 0; i < FAKE_PLATFORM_MAX; i++)
		f->kicks[i].fd = f->msis[i].fd = -1;
	for (unsigned i = 0; i < 32; i++)
		f->irqs[i] = -1;
}

static inline unsigned fake_platform_kicks(const struct fake_platform *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FAKE_PLATFORM_MAX; i++)
		n += f->kicks[i].fd >= 0;
	return n;
}

static inline unsigned fake_platform_msis(const struct fake_platform *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FAKE_PLATFORM_MAX; i++)
		n += f->msis[i].fd >= 0;
	return n;
}

/* The guest writes to memory-mapped addr: to the eventfd that is there (true), or to the bus. */
static inline bool fake_guest_write(struct fake_platform *f, struct bus *bus, uint64_t addr, uint64_t value,
				    uint32_t len)
{
	uint64_t one = 1;

	for (unsigned i = 0; i < FAKE_PLATFORM_MAX; i++) {
		const struct fake_kick *k = &f->kicks[i];

		if (k->fd >= 0 && k->space == BUS_MMIO && k->addr == addr && (!k->len || k->len == len) &&
		    (k->any || k->match == value))
			return write(k->fd, &one, sizeof one) == sizeof one;
	}
	value = htole64(value);
	bus_write(bus, addr, &value, len);
	return false;
}

static inline uint64_t fake_guest_read(struct bus *bus, uint64_t addr, uint32_t len)
{
	uint64_t value = 0;

	bus_read(bus, addr, &value, len);
	return le64toh(value);
}

/* How often has this interrupt's eventfd been written since the last look? */
static inline unsigned fake_interrupts(int fd)
{
	uint64_t n;

	return fd >= 0 && read(fd, &n, sizeof n) == (ssize_t)sizeof n ? (unsigned)n : 0;
}

static inline struct fake_msi *fake_find_msi(struct fake_platform *f, uint64_t address, uint32_t data)
{
	for (unsigned i = 0; i < FAKE_PLATFORM_MAX; i++)
		if (f->msis[i].fd >= 0 && f->msis[i].address == address && f->msis[i].data == data)
			return &f->msis[i];
	return NULL;
}

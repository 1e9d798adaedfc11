/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vector is attached to the machine when it is first open (enabled, neither mask set) and stays so until MSI-X is
 * switched off: guests mask and unmask often, and only to change the message.
 */
#include "pci/msix.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "base/log.h"
#include "guestmem/le.h"
#include "state/state.h"

#define CAP_CONTROL    2
#define CONTROL_ENABLE 0x8000
#define CONTROL_MASK   0x4000
#define ENTRY_CONTROL  3
#define ENTRY_MASKED   1U

int msix_init(struct msix *m, struct platform *platform, struct pci_function *f, unsigned n, unsigned bar,
	      uint32_t table, uint32_t pba)
{
	struct {
		le16 control;
		le32 table, pba;
	} __attribute__((packed)) body = { le16_of((uint16_t)(n - 1)), le32_of(table | bar), le32_of(pba | bar) };
	le16 writable = le16_of(CONTROL_ENABLE | CONTROL_MASK);
	int at;

	if (!n || n > MSIX_VECTORS_MAX || (table & 7) || (pba & 7))
		return -EINVAL;
	*m = (struct msix){ .platform = platform, .function = f, .n = n };
	m->vectors = calloc(n, sizeof *m->vectors);
	if (!m->vectors)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		m->vectors[i].fd = -1;
		m->vectors[i].entry[ENTRY_CONTROL] = ENTRY_MASKED;
	}
	at = pci_config_add_capability(&f->config, PCI_CAP_MSIX, &body, sizeof body);
	if (at < 0)
		return at;
	m->capability = (unsigned)at;
	pci_config_allow(&f->config, m->capability + CAP_CONTROL, &writable, sizeof writable);
	return 0;
}

static void detach(struct msix *m, struct msix_vector *v)
{
	if (v->attached)
		m->platform->ops->msi_detach(m->platform, v->handle, v->fd);
	v->attached = false;
}

void msix_fini(struct msix *m)
{
	for (unsigned i = 0; m->vectors && i < m->n; i++) {
		detach(m, &m->vectors[i]);
		fd_close(&m->vectors[i].fd);
	}
	free(take_ptr(m->vectors));
}

void msix_reset(struct msix *m)
{
	uint16_t control = pci_config_get16(&m->function->config, m->capability + CAP_CONTROL);

	for (unsigned i = 0; i < m->n; i++) {
		struct msix_vector *v = &m->vectors[i];

		detach(m, v);
		memset(v->entry, 0, sizeof v->entry);
		v->entry[ENTRY_CONTROL] = ENTRY_MASKED;
		v->pending = false;
	}
	control &= (uint16_t) ~(CONTROL_ENABLE | CONTROL_MASK);
	pci_config_set16(&m->function->config, m->capability + CAP_CONTROL, control);
	m->enabled = m->masked = false;
}

/* Let the machine send v's message. */
static int route(struct msix *m, struct msix_vector *v)
{
	uint64_t address = (uint64_t)v->entry[1] << 32 | v->entry[0];
	const struct platform_ops *ops = m->platform->ops;
	int r;

	if (v->attached && !memcmp(v->routed, v->entry, sizeof v->routed))
		return 0;
	if (v->fd < 0)
		v->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->fd < 0)
		return -errno;
	if (v->attached)
		r = ops->msi_update(m->platform, v->handle, address, v->entry[2]);
	else
		r = ops->msi_attach(m->platform, v->fd, address, v->entry[2], pci_function_requester(m->function),
				    &v->handle);
	if (r < 0)
		return r;
	v->attached = true;
	memcpy(v->routed, v->entry, sizeof v->routed);
	return 0;
}

static void send(const struct msix_vector *v)
{
	uint64_t one = 1;

	if (write(v->fd, &one, sizeof one) < 0) {
		/* Full counter: the message is on its way. */
	}
}

/* The vector's masks, its message or the capability may have changed. */
static void update(struct msix *m, struct msix_vector *v)
{
	int r;

	if (!m->enabled) {
		detach(m, v);
		v->pending = false;
		return;
	}
	if (m->masked || (v->entry[ENTRY_CONTROL] & ENTRY_MASKED))
		return;
	r = route(m, v);
	if (r < 0)
		log_warn_few(&m->failures, "PCI slot %u: MSI-X vector %u cannot be delivered: errno %d",
			     m->function->slot, (unsigned)(v - m->vectors), -r);
	else if (v->pending) {
		v->pending = false;
		send(v);
	}
}

static void read_switches(const struct msix *m, bool *ret_enabled, bool *ret_masked)
{
	const struct pci_config *c = &m->function->config;
	uint16_t control = pci_config_get16(c, m->capability + CAP_CONTROL);

	*ret_enabled = control & CONTROL_ENABLE;
	*ret_masked = control & CONTROL_MASK || !pci_config_master_enabled(c);
}

static void update_all(struct msix *m)
{
	read_switches(m, &m->enabled, &m->masked);
	for (unsigned i = 0; i < m->n; i++)
		update(m, &m->vectors[i]);
}

void msix_config_written(struct msix *m)
{
	bool enabled, masked;

	read_switches(m, &enabled, &masked);
	if (m->enabled != enabled || m->masked != masked)
		update_all(m);
}

/* §6.8.2: aligned, and of 4 or 8 bytes. */
static bool proper(uint64_t offset, uint32_t len)
{
	return (len == 4 || len == 8) && !(offset & (len - 1));
}

void msix_table_read(const struct msix *m, uint64_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
	for (uint32_t i = 0; proper(offset, len) && i < len; i += 4) {
		uint64_t word = (offset + i) / 4;
		le32 value;

		if (word / 4 >= m->n)
			return;
		value = le32_of(m->vectors[word / 4].entry[word % 4]);
		memcpy((char *)data + i, &value, sizeof value);
	}
}

void msix_table_write(struct msix *m, uint64_t offset, const void *data, uint32_t len)
{
	uint64_t vector = offset / MSIX_ENTRY_SIZE;

	if (!proper(offset, len) || vector >= m->n)
		return;
	for (uint32_t i = 0; i < len; i += 4) {
		uint64_t word = (offset + i) / 4 % 4;
		le32 value;

		memcpy(&value, (const char *)data + i, sizeof value);
		m->vectors[vector].entry[word] = le32_get(value) & (word == ENTRY_CONTROL ? ENTRY_MASKED : ~0U);
	}
	update(m, &m->vectors[vector]);
}

void msix_pba_read(const struct msix *m, uint64_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
	for (uint32_t bit = 0; proper(offset, len) && bit < 8 * len; bit++)
		if (8 * offset + bit < m->n && m->vectors[8 * offset + bit].pending)
			((uint8_t *)data)[bit / 8] |= (uint8_t)(1U << bit % 8);
}

void msix_notify(struct msix *m, unsigned vector)
{
	struct msix_vector *v;

	if (vector >= m->n || !m->enabled)
		return;
	v = &m->vectors[vector];
	if (v->attached && !m->masked && !(v->entry[ENTRY_CONTROL] & ENTRY_MASKED))
		send(v);
	else
		v->pending = true;
}

void msix_save(const struct msix *m, struct state *s)
{
	for (unsigned i = 0; i < m->n; i++) {
		struct state *child = state_child_n(s, "vector", i);

		state_put_u64(child, "address", (uint64_t)m->vectors[i].entry[1] << 32 | m->vectors[i].entry[0]);
		state_put_u64(child, "data", m->vectors[i].entry[2]);
		state_put_u64(child, "control", m->vectors[i].entry[ENTRY_CONTROL]);
		state_put_u64(child, "pending", m->vectors[i].pending);
	}
}

static int load_vector(struct msix_vector *v, const struct state *s, struct err *e)
{
	uint64_t address, data, control, pending;
	int r = state_get_u64(s, "address", &address, e);

	if (r == 0)
		r = state_get_max(s, "data", UINT32_MAX, &data, e);
	if (r == 0)
		r = state_get_max(s, "control", ENTRY_MASKED, &control, e);
	if (r == 0)
		r = state_get_max(s, "pending", 1, &pending, e);
	if (r < 0)
		return r;
	v->entry[0] = (uint32_t)address;
	v->entry[1] = (uint32_t)(address >> 32);
	v->entry[2] = (uint32_t)data;
	v->entry[ENTRY_CONTROL] = (uint32_t)control;
	v->pending = pending;
	return 0;
}

int msix_load(struct msix *m, const struct state *s, struct err *e)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct state *child = state_get_child_n(s, "vector", i, e);
		int r = child ? load_vector(&m->vectors[i], child, e) : -ENOENT;

		if (r < 0)
			return r;
	}
	update_all(m);
	return 0;
}

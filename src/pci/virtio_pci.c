/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BAR has a page for each block of registers, so that none shares a page with another: see the offsets below.
 */
#include "pci/virtio_pci_state.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "guestmem/le.h"
#include "pci/express.h"
#include "state/state.h"

#define BLOCK      0x1000U
#define COMMON     0x0000U /* common configuration */
#define ISR        0x1000U /* one byte */
#define DEVICE     0x2000U /* device configuration */
#define NOTIFY     0x3000U /* NOTIFY_MULTIPLIER bytes for each queue */
#define MSIX_TABLE 0x4000U
#define MSIX_PBA   0x5000U
#define BAR_SIZE   0x8000U

#define NOTIFY_MULTIPLIER 4

/* §4.1.4 */
#define CAP_COMMON        1
#define CAP_NOTIFY        2
#define CAP_ISR           3
#define CAP_DEVICE        4
#define CAP_CONFIG_ACCESS 5

#define ISR_QUEUE  1
#define ISR_CONFIG 2

/* struct virtio_pci_cap without the first two bytes; extra: notify_off_multiplier or pci_cfg_data. */
struct virtio_cap {
	uint8_t len, type, bar, id, padding[2];
	le32 offset, length, extra;
} __attribute__((packed));

/* Fields of the capability of §4.1.4.9 by their distance from its begin. */
#define ACCESS_BAR    4
#define ACCESS_OFFSET 8
#define ACCESS_LENGTH 12
#define ACCESS_DATA   16

static struct virtio_pci *virtio_pci(struct pci_function *f)
{
	return container_of(f, struct virtio_pci, function);
}

static struct virtio_pci *of_transport(struct virtio_transport *t)
{
	return container_of(t, struct virtio_pci, transport);
}

/* Interrupts. The ISR register is for drivers without MSI-X, who can but poll it: there is no pin. */

static void signal_queue(struct virtio_transport *t, unsigned queue)
{
	struct virtio_pci *p = of_transport(t);

	if (p->msix.enabled)
		msix_notify(&p->msix, p->queue_vector[queue]);
	else
		p->isr |= ISR_QUEUE;
}

static void tell_config(struct virtio_pci *p)
{
	if (p->msix.enabled)
		msix_notify(&p->msix, p->config_vector);
	else
		p->isr |= ISR_CONFIG;
}

static void signal_config(struct virtio_transport *t)
{
	if (virtio_driver_config_changed(&of_transport(t)->driver))
		tell_config(of_transport(t));
}

static void needs_reset(struct virtio_transport *t, const char *why)
{
	if (virtio_driver_needs_reset(&of_transport(t)->driver))
		tell_config(of_transport(t));
}

static const struct virtio_transport_ops transport_ops = {
	.signal_queue = signal_queue,
	.signal_config = signal_config,
	.needs_reset = needs_reset,
};

/* Kicks. */

static uint64_t kick_address(const struct virtio_pci *p, unsigned queue)
{
	return p->bar + NOTIFY + NOTIFY_MULTIPLIER * queue;
}

static void detach_kick(struct virtio_pci *p, unsigned queue)
{
	p->platform->ops->kick_detach(p->platform, BUS_MMIO, kick_address(p, queue), 0, NULL, p->kicks.queue[queue].fd);
	p->kick_attached &= ~(1ULL << queue);
}

static void attach_kick(struct virtio_pci *p, unsigned queue)
{
	int r = p->platform->ops->kick_attach(p->platform, BUS_MMIO, kick_address(p, queue), 0, NULL,
					      p->kicks.queue[queue].fd);

	if (r < 0)
		log_debug("PCI slot %u: kicks of queue %u take the slow way: errno %d", p->function.slot, queue, -r);
	else
		p->kick_attached |= 1ULL << queue;
}

void virtio_pci_update_kicks(struct virtio_pci *p)
{
	uint64_t want = p->bar && (p->driver.status & VIRTIO_STATUS_DRIVER_OK) ? p->driver.enabled : 0;

	for (unsigned i = 0; i < p->driver.dev->n_queues; i++) {
		bool wanted = want & 1ULL << i, attached = p->kick_attached & 1ULL << i;

		if (wanted && !attached)
			attach_kick(p, i);
		else if (!wanted && attached)
			detach_kick(p, i);
	}
}

static void bar_mapped(struct pci_function *f, unsigned bar, uint64_t address)
{
	virtio_pci(f)->bar = address;
	virtio_pci_update_kicks(virtio_pci(f));
}

static void bar_unmapped(struct pci_function *f, unsigned bar, uint64_t address)
{
	struct virtio_pci *p = virtio_pci(f);

	for (unsigned i = 0; i < p->driver.dev->n_queues; i++)
		if (p->kick_attached & 1ULL << i)
			detach_kick(p, i);
	p->bar = 0;
}

/* The BAR. */

static void put_le(void *data, uint64_t value, uint32_t len)
{
	le64 v = le64_of(value);

	memcpy(data, &v, len);
}

static uint64_t get_le(const void *data, uint32_t len)
{
	le64 v = le64_of(0);

	memcpy(&v, data, len);
	return le64_get(v);
}

static void bar_read(struct pci_function *f, unsigned bar, uint64_t offset, void *data, uint32_t len)
{
	struct virtio_pci *p = virtio_pci(f);
	uint64_t at = offset % BLOCK;

	switch (offset - at) {
	case COMMON:
		put_le(data, virtio_pci_common_read(p, at, len), len);
		break;
	case ISR:
		if (at == 0 && len == 1) { /* §4.1.4.5: reading clears it */
			put_le(data, p->isr, len);
			p->isr = 0;
		}
		break;
	case DEVICE:
		virtio_driver_config_read(&p->driver, (uint32_t)at, data, len);
		break;
	case MSIX_TABLE:
		msix_table_read(&p->msix, at, data, len);
		break;
	case MSIX_PBA:
		msix_pba_read(&p->msix, at, data, len);
		break;
	default:
		break;
	}
}

static void bar_write(struct pci_function *f, unsigned bar, uint64_t offset, const void *data, uint32_t len)
{
	struct virtio_pci *p = virtio_pci(f);
	uint64_t at = offset % BLOCK;

	switch (offset - at) {
	case COMMON:
		virtio_pci_common_write(p, at, get_le(data, len), len);
		break;
	case DEVICE:
		virtio_driver_config_write(&p->driver, (uint32_t)at, data, len);
		break;
	case NOTIFY: /* the address says which queue, the value nothing new */
		if (at % NOTIFY_MULTIPLIER == 0)
			virtio_device_kick(p->driver.dev, (unsigned)(at / NOTIFY_MULTIPLIER));
		break;
	case MSIX_TABLE:
		msix_table_write(&p->msix, at, data, len);
		break;
	default:
		break;
	}
}

/*
 * The window to the BAR in configuration space (§4.1.4.9), for a driver that cannot map it (yet). True: *offset and
 * *len say a proper access, and [at, at + n) touches the window's data.
 */
static bool config_access(const struct virtio_pci *p, uint32_t at, uint32_t n, uint32_t *offset, uint32_t *len)
{
	const struct pci_config *c = &p->function.config;
	unsigned cap = p->config_access;

	if (at >= cap + ACCESS_DATA + 4 || at + n <= cap + ACCESS_DATA)
		return false;
	*offset = pci_config_get32(c, cap + ACCESS_OFFSET);
	*len = pci_config_get32(c, cap + ACCESS_LENGTH);
	return c->data[cap + ACCESS_BAR] == 0 && (*len == 1 || *len == 2 || *len == 4) && !(*offset & (*len - 1)) &&
	       *offset < BAR_SIZE;
}

static void config_read(struct pci_function *f, uint32_t at, void *data, uint32_t n)
{
	struct virtio_pci *p = virtio_pci(f);
	uint32_t offset, len;

	if (!config_access(p, at, n, &offset, &len))
		return;
	pci_config_set32(&f->config, p->config_access + ACCESS_DATA, 0);
	bar_read(f, 0, offset, f->config.data + p->config_access + ACCESS_DATA, len);
	pci_config_read(&f->config, at, data, n);
}

/* §6.2.2 of PCI 3.0: without bus mastering no access to memory. What is finished by then is still told. */
static void update_master(struct virtio_pci *p)
{
	bool master = pci_config_master_enabled(&p->function.config);

	if (!master)
		virtio_driver_hold(&p->driver, true);
	msix_config_written(&p->msix);
	if (master)
		virtio_driver_hold(&p->driver, false);
}

static void config_written(struct pci_function *f, uint32_t at, const void *data, uint32_t n)
{
	struct virtio_pci *p = virtio_pci(f);
	uint32_t offset, len;

	update_master(p);
	if (config_access(p, at, n, &offset, &len))
		bar_write(f, 0, offset, f->config.data + p->config_access + ACCESS_DATA, len);
}

/* Life. */

/* What is behind a port is a device of PCI Express; there is room for that. */
static void placed(struct pci_function *f)
{
	if (f->slot >= PCI_SLOTS)
		express_add(&f->config, EXPRESS_ENDPOINT, 0);
}

static void reset(struct pci_function *f)
{
	struct virtio_pci *p = virtio_pci(f);

	virtio_driver_set_status(&p->driver, 0);
	virtio_driver_hold(&p->driver, true);
	virtio_pci_forget_vectors(p);
	msix_reset(&p->msix);
}

static void pause_function(struct pci_function *f)
{
	virtio_driver_pause(&virtio_pci(f)->driver);
}

static void resume_function(struct pci_function *f)
{
	virtio_driver_resume(&virtio_pci(f)->driver);
}

static void save(struct pci_function *f, struct state *s)
{
	struct virtio_pci *p = virtio_pci(f);

	state_put_u64(s, "isr", p->isr);
	state_put_u64(s, "config-vector", p->config_vector);
	for (unsigned i = 0; i < p->driver.dev->n_queues; i++)
		state_put_u64(state_child_n(s, "queue-vector", i), "vector", p->queue_vector[i]);
	msix_save(&p->msix, state_child(s, "msix"));
	virtio_driver_save(&p->driver, state_child(s, "virtio"));
}

static int load_vector(struct virtio_pci *p, const struct state *s, const char *name, uint16_t *ret, struct err *e)
{
	uint64_t vector;
	int r = s ? state_get_max(s, name, UINT16_MAX, &vector, e) : -ENOENT;

	if (r == 0)
		*ret = vector < p->msix.n ? (uint16_t)vector : VIRTIO_PCI_NO_VECTOR;
	return r;
}

static int load(struct pci_function *f, const struct state *s, struct err *e)
{
	const struct state *msix = state_get_child(s, "msix", e),
			   *virtio = msix ? state_get_child(s, "virtio", e) : NULL;
	struct virtio_pci *p = virtio_pci(f);
	uint64_t isr;
	int r = virtio ? state_get_max(s, "isr", ISR_QUEUE | ISR_CONFIG, &isr, e) : -ENOENT;

	if (r == 0)
		r = load_vector(p, s, "config-vector", &p->config_vector, e);
	for (unsigned i = 0; r == 0 && i < p->driver.dev->n_queues; i++)
		r = load_vector(p, state_get_child_n(s, "queue-vector", i, e), "vector", &p->queue_vector[i], e);
	if (r == 0)
		r = msix_load(&p->msix, msix, e);
	if (r == 0)
		r = virtio_driver_load(&p->driver, virtio, e);
	if (r < 0)
		return r;
	p->isr = (uint8_t)isr;
	virtio_driver_hold(&p->driver, !pci_config_master_enabled(&f->config));
	virtio_pci_update_kicks(p);
	return 0;
}

static void release(struct virtio_pci *p)
{
	msix_fini(&p->msix);
	free(p);
}

static void function_free(struct pci_function *f)
{
	struct virtio_pci *p = virtio_pci(f);

	virtio_device_free(p->driver.dev);
	virtio_kicks_close(&p->kicks);
	release(p);
}

static const struct pci_function_ops ops = {
	.config_read = config_read,
	.config_written = config_written,
	.bar_read = bar_read,
	.bar_write = bar_write,
	.bar_mapped = bar_mapped,
	.bar_unmapped = bar_unmapped,
	.placed = placed,
	.reset = reset,
	.pause = pause_function,
	.resume = resume_function,
	.save = save,
	.load = load,
	.free = function_free,
};

static uint32_t pci_class(uint32_t type)
{
	switch (type) {
	case 1: /* network */
		return 0x020000;
	case 2: /* block */
	case 8: /* SCSI host */
		return 0x010000;
	case 3: /* console */
		return 0x078000;
	case 26: /* file system */
	case 27: /* pmem */
		return 0x018000;
	default:
		return 0xff0000; /* in no class */
	}
}

static int add_cap(struct pci_config *c, uint8_t type, uint32_t offset, uint32_t length, const uint32_t *extra)
{
	struct virtio_cap cap = { .type = type, .offset = le32_of(offset), .length = le32_of(length) };
	size_t len = sizeof cap - (extra ? 0 : sizeof cap.extra);

	cap.len = (uint8_t)(len + 2);
	cap.extra = le32_of(extra ? *extra : 0);
	return pci_config_add_capability(c, PCI_CAP_VENDOR, &cap, len);
}

/* Cannot fail for want of room: all of it is about a hundred bytes. */
static int add_capabilities(struct virtio_pci *p, unsigned n_queues)
{
	static const uint32_t multiplier = NOTIFY_MULTIPLIER, none = 0;
	struct pci_config *c = &p->function.config;
	le32 all = le32_of(UINT32_MAX);

	add_cap(c, CAP_COMMON, COMMON, VIRTIO_PCI_COMMON_SIZE, NULL);
	add_cap(c, CAP_ISR, ISR, 1, NULL);
	add_cap(c, CAP_DEVICE, DEVICE, BLOCK, NULL);
	add_cap(c, CAP_NOTIFY, NOTIFY, NOTIFY_MULTIPLIER * n_queues, &multiplier);
	p->config_access = (unsigned)add_cap(c, CAP_CONFIG_ACCESS, 0, 0, &none);
	pci_config_allow(c, p->config_access + ACCESS_BAR, &all, 1);
	pci_config_allow(c, p->config_access + ACCESS_OFFSET, &all, sizeof all);
	pci_config_allow(c, p->config_access + ACCESS_LENGTH, &all, sizeof all);
	pci_config_allow(c, p->config_access + ACCESS_DATA, &all, sizeof all);
	return msix_init(&p->msix, p->platform, &p->function, n_queues + 1, 0, MSIX_TABLE, MSIX_PBA);
}

int virtio_pci_new(struct platform *platform, struct loop *loop, struct virtio_device *dev, struct pci_function **ret,
		   struct err *e)
{
	/* §4.1.2.1: revision 1 or more, and the subsystem's id beyond those of the legacy interface. */
	const struct pci_identity id = {
		.vendor = VIRTIO_PCI_VENDOR,
		.device = (uint16_t)(VIRTIO_PCI_DEVICE_BASE + dev->type),
		.subsystem_vendor = VIRTIO_PCI_VENDOR,
		.subsystem = (uint16_t)(VIRTIO_PCI_DEVICE_BASE + dev->type),
		.class = pci_class(dev->type),
		.revision = 1,
	};
	struct virtio_pci *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return err_sys(e, ENOMEM, "cannot make a virtio-pci device");
	p->function.ops = &ops;
	p->function.loop = loop;
	p->transport.ops = &transport_ops;
	p->platform = platform;
	pci_config_init(&p->function.config, &id);
	pci_config_add_bar(&p->function.config, 0, BAR_SIZE, 0);
	r = add_capabilities(p, dev->n_queues);
	if (r == 0)
		r = virtio_kicks_open(&p->kicks, loop, dev);
	if (r < 0) {
		release(p);
		return err_sys(e, -r, "cannot make a virtio-pci device of type %u", dev->type);
	}
	virtio_pci_forget_vectors(p);
	virtio_driver_init(&p->driver, dev);
	virtio_driver_hold(&p->driver, true);
	dev->transport = &p->transport;
	*ret = &p->function;
	return 0;
}

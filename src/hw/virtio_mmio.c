/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers are 32 bits wide and aligned (§4.2.2.2: the driver may not access them otherwise; such reads give 0, such
 * writes do nothing). The device configuration above them takes any width.
 */
#include "hw/virtio_mmio.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "guestmem/le.h"
#include "state/state.h"
#include "virtio/driver_state.h"
#include "virtio/kicks.h"

/* §4.2.2 */
#define REG_MAGIC               0x000
#define REG_VERSION             0x004
#define REG_DEVICE_ID           0x008
#define REG_VENDOR_ID           0x00c
#define REG_DEVICE_FEATURES     0x010
#define REG_DEVICE_FEATURES_SEL 0x014
#define REG_DRIVER_FEATURES     0x020
#define REG_DRIVER_FEATURES_SEL 0x024
#define REG_QUEUE_SEL           0x030
#define REG_QUEUE_NUM_MAX       0x034
#define REG_QUEUE_NUM           0x038
#define REG_QUEUE_READY         0x044
#define REG_QUEUE_NOTIFY        0x050
#define REG_INTERRUPT_STATUS    0x060
#define REG_INTERRUPT_ACK       0x064
#define REG_STATUS              0x070
#define REG_QUEUE_DESC_LOW      0x080
#define REG_QUEUE_DESC_HIGH     0x084
#define REG_QUEUE_DRIVER_LOW    0x090
#define REG_QUEUE_DRIVER_HIGH   0x094
#define REG_QUEUE_DEVICE_LOW    0x0a0
#define REG_QUEUE_DEVICE_HIGH   0x0a4
#define REG_SHM_LEN_LOW         0x0b0
#define REG_SHM_LEN_HIGH        0x0b4
#define REG_SHM_BASE_LOW        0x0b8
#define REG_SHM_BASE_HIGH       0x0bc
#define REG_CONFIG_GENERATION   0x0fc
#define REG_CONFIG              0x100

#define MAGIC     0x74726976 /* "virt" */
#define VERSION   2
#define VENDOR_ID 0x53494143 /* "CAIS": means nothing to a driver */

#define INTERRUPT_QUEUE  1
#define INTERRUPT_CONFIG 2

struct virtio_mmio {
	struct virtio_transport transport;
	struct virtio_driver driver;
	struct virtio_kicks kicks;
	struct platform *platform;
	struct bus *bus;
	uint64_t base;
	uint32_t gsi;
	int irq_fd;
	uint32_t interrupt_status;
	bool on_bus, irq_attached;
	uint64_t kick_attached; /* bit n: of queue n */
};

static struct virtio_mmio *mmio(struct virtio_transport *t)
{
	return container_of(t, struct virtio_mmio, transport);
}

static void interrupt(struct virtio_mmio *m, uint32_t why)
{
	uint64_t one = 1;

	m->interrupt_status |= why;
	if (write(m->irq_fd, &one, sizeof one) < 0) {
		/* Full counter: the interrupt is on its way. */
	}
}

static void signal_queue(struct virtio_transport *t, unsigned queue)
{
	interrupt(mmio(t), INTERRUPT_QUEUE);
}

static void signal_config(struct virtio_transport *t)
{
	if (virtio_driver_config_changed(&mmio(t)->driver))
		interrupt(mmio(t), INTERRUPT_CONFIG);
}

static void needs_reset(struct virtio_transport *t, const char *why)
{
	if (virtio_driver_needs_reset(&mmio(t)->driver))
		interrupt(mmio(t), INTERRUPT_CONFIG);
}

static const struct virtio_transport_ops transport_ops = {
	.signal_queue = signal_queue,
	.signal_config = signal_config,
	.needs_reset = needs_reset,
};

static uint32_t reg_read(struct virtio_mmio *m, uint64_t offset)
{
	struct virtio_driver *d = &m->driver;

	switch (offset) {
	case REG_MAGIC:
		return MAGIC;
	case REG_VERSION:
		return VERSION;
	case REG_DEVICE_ID:
		return d->dev->type;
	case REG_VENDOR_ID:
		return VENDOR_ID;
	case REG_DEVICE_FEATURES:
		return virtio_driver_offered(d);
	case REG_QUEUE_NUM_MAX:
		return virtio_driver_queue_max(d);
	case REG_QUEUE_READY:
		return virtio_driver_queue_enabled(d);
	case REG_INTERRUPT_STATUS:
		return m->interrupt_status;
	case REG_STATUS:
		return d->status;
	case REG_SHM_LEN_LOW:
	case REG_SHM_LEN_HIGH:
	case REG_SHM_BASE_LOW:
	case REG_SHM_BASE_HIGH:
		return UINT32_MAX; /* no region has the selected id: a length of -1 */
	case REG_CONFIG_GENERATION:
		return d->generation;
	default:
		return 0;
	}
}

static void set_ring_address(struct virtio_driver *d, uint64_t offset, uint32_t value)
{
	enum virtio_ring_area area = offset < REG_QUEUE_DRIVER_LOW   ? VIRTIO_RING_DESC
				     : offset < REG_QUEUE_DEVICE_LOW ? VIRTIO_RING_DRIVER
								     : VIRTIO_RING_DEVICE;

	virtio_driver_set_queue_addr(d, area, offset & 4, value);
}

static void reg_write(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
	struct virtio_driver *d = &m->driver;

	switch (offset) {
	case REG_DEVICE_FEATURES_SEL:
		d->device_features_sel = value;
		break;
	case REG_DRIVER_FEATURES:
		virtio_driver_set_features(d, value);
		break;
	case REG_DRIVER_FEATURES_SEL:
		d->driver_features_sel = value;
		break;
	case REG_QUEUE_SEL:
		d->queue_sel = value;
		break;
	case REG_QUEUE_NUM:
		virtio_driver_set_queue_size(d, value);
		break;
	case REG_QUEUE_READY:
		if (value == 1)
			virtio_driver_enable_queue(d);
		else if (value == 0)
			virtio_driver_disable_queue(d);
		break;
	case REG_QUEUE_NOTIFY:
		virtio_device_kick(d->dev, value);
		break;
	case REG_INTERRUPT_ACK:
		m->interrupt_status &= ~value;
		break;
	case REG_STATUS:
		/* Only the low byte means something, but a write of 0x100 is no reset either. */
		if (value <= UINT8_MAX && virtio_driver_set_status(d, (uint8_t)value) == VIRTIO_DRIVER_RESET)
			m->interrupt_status = 0;
		break;
	case REG_QUEUE_DESC_LOW:
	case REG_QUEUE_DESC_HIGH:
	case REG_QUEUE_DRIVER_LOW:
	case REG_QUEUE_DRIVER_HIGH:
	case REG_QUEUE_DEVICE_LOW:
	case REG_QUEUE_DEVICE_HIGH:
		set_ring_address(d, offset, value);
		break;
	default: /* read-only, not there, or of a feature that is not offered */
		break;
	}
}

static void on_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct virtio_mmio *m = device;

	memset(data, 0, len);
	if (offset >= REG_CONFIG) {
		virtio_driver_config_read(&m->driver, (uint32_t)(offset - REG_CONFIG), data, len);
	} else if (len == 4 && !(offset & 3)) {
		le32 value = le32_of(reg_read(m, offset));

		memcpy(data, &value, sizeof value);
	}
}

static void on_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct virtio_mmio *m = device;

	if (offset >= REG_CONFIG) {
		virtio_driver_config_write(&m->driver, (uint32_t)(offset - REG_CONFIG), data, len);
	} else if (len == 4 && !(offset & 3)) {
		le32 value;

		memcpy(&value, data, sizeof value);
		reg_write(m, offset, le32_get(value));
	}
}

static const struct bus_handler handler = { on_read, on_write };

static void attach_kicks(struct virtio_mmio *m)
{
	const struct platform_ops *ops = m->platform->ops;

	for (uint64_t i = 0; i < m->driver.dev->n_queues; i++) {
		int r = ops->kick_attach(m->platform, BUS_MMIO, m->base + REG_QUEUE_NOTIFY, 4, &i,
					 m->kicks.queue[i].fd);

		if (r < 0)
			log_debug("virtio device type %u: kicks of queue %u take the slow way: errno %d",
				  m->driver.dev->type, (unsigned)i, -r);
		else
			m->kick_attached |= 1ULL << i;
	}
}

static void detach_kicks(struct virtio_mmio *m)
{
	for (uint64_t i = 0; i < VIRTIO_QUEUES_MAX; i++)
		if (m->kick_attached & 1ULL << i)
			m->platform->ops->kick_detach(m->platform, BUS_MMIO, m->base + REG_QUEUE_NOTIFY, 4, &i,
						      m->kicks.queue[i].fd);
	m->kick_attached = 0;
}

static int connect_all(struct virtio_mmio *m, struct loop *loop, struct virtio_device *dev)
{
	int r = virtio_kicks_open(&m->kicks, loop, dev);

	if (r < 0)
		return r;
	m->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->irq_fd < 0)
		return -errno;
	r = m->platform->ops->irq_attach(m->platform, m->gsi, m->irq_fd);
	if (r < 0)
		return r;
	m->irq_attached = true;
	r = bus_add(m->bus, m->base, VIRTIO_MMIO_SIZE, &handler, m, loop);
	m->on_bus = r == 0;
	return r;
}

/* Everything but the device. */
static void disconnect_all(struct virtio_mmio *m)
{
	detach_kicks(m);
	if (m->on_bus)
		bus_remove(m->bus, m->base);
	if (m->irq_attached)
		m->platform->ops->irq_detach(m->platform, m->gsi, m->irq_fd);
	virtio_kicks_close(&m->kicks);
	fd_close(&m->irq_fd);
}

int virtio_mmio_new(struct platform *platform, struct bus *bus, struct loop *loop, uint64_t base, uint32_t gsi,
		    struct virtio_device *dev, struct virtio_mmio **ret, struct err *e)
{
	struct virtio_mmio *m = calloc(1, sizeof *m);
	int r;

	if (!m)
		return err_sys(e, ENOMEM, "cannot make a virtio-mmio device");
	m->transport.ops = &transport_ops;
	m->platform = platform;
	m->bus = bus;
	m->base = base;
	m->gsi = gsi;
	m->irq_fd = -1;
	virtio_driver_init(&m->driver, dev);
	r = connect_all(m, loop, dev);
	if (r < 0) {
		disconnect_all(m);
		free(m);
		return err_sys(e, -r, "cannot put virtio device type %u at %#llx, interrupt %u", dev->type,
			       (unsigned long long)base, gsi);
	}
	dev->transport = &m->transport;
	attach_kicks(m);
	*ret = m;
	return 0;
}

void virtio_mmio_free(struct virtio_mmio *m)
{
	if (!m)
		return;
	/* No register access and no kick from here; the device may still signal while it ends. */
	detach_kicks(m);
	if (m->on_bus)
		bus_remove(m->bus, m->base);
	m->on_bus = false;
	virtio_device_free(m->driver.dev);
	disconnect_all(m);
	free(m);
}

void virtio_mmio_pause(struct virtio_mmio *m)
{
	virtio_driver_pause(&m->driver);
}

void virtio_mmio_resume(struct virtio_mmio *m)
{
	virtio_driver_resume(&m->driver);
}

void virtio_mmio_save(const struct virtio_mmio *m, struct state *s)
{
	state_put_u64(s, "interrupt-status", m->interrupt_status);
	virtio_driver_save(&m->driver, s);
}

int virtio_mmio_load(struct virtio_mmio *m, const struct state *s, struct err *e)
{
	uint64_t status;
	int r = state_get_max(s, "interrupt-status", INTERRUPT_QUEUE | INTERRUPT_CONFIG, &status, e);

	if (r < 0)
		return r;
	m->interrupt_status = (uint32_t)status;
	return virtio_driver_load(&m->driver, s, e);
}

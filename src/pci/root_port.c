/* SPDX-License-Identifier: Apache-2.0 */
#include "pci/root_port.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "guestmem/le.h"
#include "pci/express.h"
#include "pci/msix.h"
#include "state/state.h"

#define LNKCTL_MASK   0x00d0
#define LNKCTL_OFF    0x0010
#define LNKSTA_ACTIVE 0x2000
#define RTCTL_MASK    0x001f

/* Button, power switch, both indicators, hot-plug; no events for the end of commands. */
#define SLTCAP           0x0004005b
#define SLTCAP_NUMBER(n) ((n) << 19)

#define SLTCTL_MASK      0x17ff
#define SLTCTL_INTERRUPT 0x0020
#define SLTCTL_POWER_IND 0x0300
#define SLTCTL_BLINK     0x0200
#define SLTCTL_POWER_OFF 0x0400
#define SLTCTL_LINK      0x1000 /* tell of SLTSTA_LINK */
#define SLTCTL_EMPTY     0x07c0 /* power and indicators off */

#define SLTSTA_BUTTON   0x0001
#define SLTSTA_PRESENCE 0x0008
#define SLTSTA_PRESENT  0x0040 /* a state, no event */
#define SLTSTA_LINK     0x0100
#define SLTSTA_EVENTS   0x011f
#define SLTSTA_LOW      0x001f /* events whose switch is at the same place of the control register */

#define BAR_SIZE 0x1000U
#define MSIX_PBA 0x0800U

struct root_port {
	struct pci_function function; /* first */
	struct msix msix;
	unsigned capability, number;
	bool asked;  /* the guest shall let go */
	bool raised; /* the message for the events that there are was sent */
	const struct root_port_ops *ops;
	void *userdata;
};

static struct root_port *root_port(struct pci_function *f)
{
	return container_of(f, struct root_port, function);
}

static uint16_t get(const struct root_port *p, unsigned offset)
{
	return pci_config_get16(&p->function.config, p->capability + offset);
}

static void set(struct root_port *p, unsigned offset, uint16_t value)
{
	pci_config_set16(&p->function.config, p->capability + offset, value);
}

/* ---- events ---- */

/* §6.7.3.4: a message goes out when there is an event that is told of, and was none before. */
static void update_interrupt(struct root_port *p, bool again)
{
	uint16_t control = get(p, EXPRESS_SLTCTL), status = get(p, EXPRESS_SLTSTA);
	bool raise = (control & SLTCTL_INTERRUPT) &&
		     ((status & control & SLTSTA_LOW) || ((status & SLTSTA_LINK) && (control & SLTCTL_LINK)));

	if (raise && (again || !p->raised))
		msix_notify(&p->msix, 0);
	p->raised = raise;
}

static void add_events(struct root_port *p, uint16_t events)
{
	set(p, EXPRESS_SLTSTA, get(p, EXPRESS_SLTSTA) | events);
	update_interrupt(p, false);
}

/* A second press would take the first one back: none while the guest has not seen it, or is at work (§6.7.1.5). */
static void press(struct root_port *p)
{
	if (!(get(p, EXPRESS_SLTSTA) & SLTSTA_BUTTON) && (get(p, EXPRESS_SLTCTL) & SLTCTL_POWER_IND) != SLTCTL_BLINK)
		add_events(p, SLTSTA_BUTTON);
}

/* ---- the slot ---- */

static bool powered(const struct root_port *p)
{
	return !(get(p, EXPRESS_SLTCTL) & SLTCTL_POWER_OFF);
}

static bool link_active(const struct root_port *p)
{
	return get(p, EXPRESS_LNKSTA) & LNKSTA_ACTIVE;
}

/* True: the link is not active any more. */
static bool update_link(struct root_port *p)
{
	bool was = link_active(p),
	     is = (get(p, EXPRESS_SLTSTA) & SLTSTA_PRESENT) && powered(p) && !(get(p, EXPRESS_LNKCTL) & LNKCTL_OFF);

	set(p, EXPRESS_LNKSTA, EXPRESS_LINK | (is ? LNKSTA_ACTIVE : 0));
	if (was != is)
		add_events(p, SLTSTA_LINK);
	return was && !is;
}

void root_port_insert(struct pci_function *f, bool tell)
{
	struct root_port *p = root_port(f);

	set(p, EXPRESS_SLTSTA, get(p, EXPRESS_SLTSTA) | SLTSTA_PRESENT);
	update_link(p);
	if (tell)
		add_events(p, SLTSTA_PRESENCE | SLTSTA_BUTTON);
}

void root_port_take(struct pci_function *f)
{
	struct root_port *p = root_port(f);

	p->asked = false;
	set(p, EXPRESS_SLTSTA, get(p, EXPRESS_SLTSTA) & (uint16_t)~SLTSTA_PRESENT);
	update_link(p);
	add_events(p, SLTSTA_PRESENCE);
}

bool root_port_ask(struct pci_function *f)
{
	struct root_port *p = root_port(f);

	p->asked = true;
	if (powered(p))
		press(p);
	return !powered(p);
}

bool root_port_released(const struct pci_function *f)
{
	const struct root_port *p = root_port((struct pci_function *)(uintptr_t)f);

	return p->asked && !powered(p);
}

bool root_port_link(const struct pci_function *f)
{
	return link_active(root_port((struct pci_function *)(uintptr_t)f));
}

uint8_t root_port_bus(const struct pci_function *f)
{
	return f->config.data[PCI_SECONDARY_BUS];
}

/* ---- what the guest does ---- */

/* Bits that a write of [at, at + n) sets in the 16-bit register at offset. */
static uint16_t written_ones(uint32_t at, const void *data, uint32_t n, unsigned offset)
{
	uint16_t ones = 0;

	for (unsigned i = 0; i < 2; i++)
		if (offset + i >= at && offset + i - at < n)
			ones |= (uint16_t)(((const uint8_t *)data)[offset + i - at] << 8 * i);
	return ones;
}

static bool touches(uint32_t at, uint32_t n, unsigned offset)
{
	return at < offset + 2 && offset < at + n;
}

/* Done with what it was at: now it can be asked. */
static void control_written(struct root_port *p)
{
	if (p->asked && powered(p))
		press(p);
	update_interrupt(p, false);
}

static void config_written(struct pci_function *f, uint32_t at, const void *data, uint32_t n)
{
	struct root_port *p = root_port(f);
	uint16_t events = written_ones(at, data, n, p->capability + EXPRESS_SLTSTA) & SLTSTA_EVENTS;
	bool down = false;

	msix_config_written(&p->msix);
	if (events) {
		set(p, EXPRESS_SLTSTA, get(p, EXPRESS_SLTSTA) & (uint16_t)~events);
		update_interrupt(p, false);
	}
	if (touches(at, n, p->capability + EXPRESS_SLTCTL) || touches(at, n, p->capability + EXPRESS_LNKCTL))
		down = update_link(p);
	if (touches(at, n, p->capability + EXPRESS_SLTCTL))
		control_written(p);
	if (written_ones(at, data, n, PCI_BRIDGE_CONTROL) & PCI_BRIDGE_RESET)
		down |= link_active(p);
	if (down || (touches(at, n, p->capability + EXPRESS_SLTCTL) && root_port_released(f)))
		p->ops->link_down(p->userdata, p->number);
}

/* The BAR: the table of messages, and the pending bits. */

static void bar_read(struct pci_function *f, unsigned bar, uint64_t offset, void *data, uint32_t len)
{
	struct root_port *p = root_port(f);

	if (offset < MSIX_PBA)
		msix_table_read(&p->msix, offset, data, len);
	else
		msix_pba_read(&p->msix, offset - MSIX_PBA, data, len);
}

static void bar_write(struct pci_function *f, unsigned bar, uint64_t offset, const void *data, uint32_t len)
{
	if (offset < MSIX_PBA)
		msix_table_write(&root_port(f)->msix, offset, data, len);
}

/* ---- life ---- */

/* A message may be lost between two machines; one too many is no harm. */
static void resume(struct pci_function *f)
{
	update_interrupt(root_port(f), true);
}

static void save(struct pci_function *f, struct state *s)
{
	const struct root_port *p = root_port(f);

	state_put_u64(s, "slot-events", get(p, EXPRESS_SLTSTA) & SLTSTA_EVENTS);
	state_put_u64(s, "asked", p->asked);
	msix_save(&p->msix, state_child(s, "msix"));
}

/* What is in the slot was put there before; the configuration space was loaded. */
static int load(struct pci_function *f, const struct state *s, struct err *e)
{
	const struct state *msix = state_get_child(s, "msix", e);
	struct root_port *p = root_port(f);
	uint64_t events, asked;
	int r = msix ? state_get_max(s, "slot-events", SLTSTA_EVENTS, &events, e) : -ENOENT;

	if (r == 0)
		r = state_get_max(s, "asked", 1, &asked, e);
	if (r == 0)
		r = msix_load(&p->msix, msix, e);
	if (r < 0)
		return r;
	update_link(p);
	p->asked = asked && (get(p, EXPRESS_SLTSTA) & SLTSTA_PRESENT);
	set(p, EXPRESS_SLTSTA, (get(p, EXPRESS_SLTSTA) & SLTSTA_PRESENT) | (events & SLTSTA_EVENTS));
	p->raised = true; /* see resume() */
	return 0;
}

static void port_free(struct pci_function *f)
{
	struct root_port *p = root_port(f);

	msix_fini(&p->msix);
	free(p);
}

static void allow16(struct root_port *p, unsigned offset, uint16_t mask)
{
	le16 v = le16_of(mask);

	pci_config_allow(&p->function.config, p->capability + offset, &v, sizeof v);
}

static int add_capability(struct root_port *p)
{
	struct pci_config *c = &p->function.config;
	int at = express_add(c, EXPRESS_ROOT_PORT, (p->number + 1) << 24 | EXPRESS_LINK_STATUS);

	if (at < 0)
		return at;
	p->capability = (unsigned)at;
	pci_config_set32(c, p->capability + EXPRESS_SLTCAP, SLTCAP_NUMBER(p->number + 1) | SLTCAP);
	set(p, EXPRESS_SLTCTL, SLTCTL_EMPTY);
	allow16(p, EXPRESS_LNKCTL, LNKCTL_MASK);
	allow16(p, EXPRESS_SLTCTL, SLTCTL_MASK);
	allow16(p, EXPRESS_RTCTL, RTCTL_MASK);
	return 0;
}

int root_port_new(struct platform *platform, struct loop *loop, unsigned number, const struct root_port_ops *ops,
		  void *userdata, struct pci_function **ret)
{
	/* The id that is set aside for the root port of a virtual machine. */
	static const struct pci_identity id = { .vendor = 0x1b36, .device = 0x000c, .class = 0x060400 };
	static const struct pci_function_ops port_ops = {
		.config_written = config_written,
		.bar_read = bar_read,
		.bar_write = bar_write,
		.resume = resume,
		.save = save,
		.load = load,
		.free = port_free,
	};
	struct root_port *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return -ENOMEM;
	p->function.ops = &port_ops;
	p->function.loop = loop;
	p->number = number;
	p->ops = ops;
	p->userdata = userdata;
	pci_config_init_bridge(&p->function.config, &id);
	r = pci_config_add_bar(&p->function.config, 0, BAR_SIZE, 0);
	if (r == 0)
		r = add_capability(p);
	if (r == 0)
		r = msix_init(&p->msix, platform, &p->function, 1, 0, 0, MSIX_PBA);
	if (r < 0) {
		port_free(&p->function);
		return r;
	}
	*ret = &p->function;
	return 0;
}

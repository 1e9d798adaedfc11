/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86_64 machine: where RAM is, which devices are part of it, and how its kernel starts. There is no firmware, no
 * 8259 and, where the host has a TSC-deadline timer, no interval timer: ACPI tells of a hardware-reduced machine.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "boot/acpi.h"
#include "boot/boot.h"
#include "boot/layout_x86.h"
#include "hw/acpi_events_device.h"
#include "hw/i8042.h"
#include "hw/pvpanic.h"
#include "hw/rtc.h"
#include "hw/serial.h"
#include "hw/vmgenid.h"
#include "kvm/vcpu_x86.h"
#include "pci/pci_bus.h"
#include "state/state.h"
#include "vm/ioapic_lines.h"
#include "vm/machine.h"

#define GSI_RTC      8
#define SERIAL_PORT  0x3f8
#define I8042_PORT   0x60
#define RTC_PORT     0x70
#define MMIO_DEVICES (X86_GSI_MAX - X86_GSI_VIRTIO) /* one line each; the RTC's is left out */

/* The interrupt lines of the platform's devices. */
enum { LINE_SERIAL, LINE_KEYBOARD, LINE_RTC, LINE_EVENTS, LINES };
static const uint32_t line_gsi[LINES] = { X86_GSI_SERIAL, X86_GSI_KEYBOARD, GSI_RTC, X86_GSI_ACPI_EVENTS };

struct board {
	struct vmm *vm;
	int lines[LINES]; /* eventfds */
	struct serial *serial;
	struct i8042 *keyboard;
	struct rtc *rtc;
	struct pvpanic pvpanic;
	struct acpi_events *events;
	struct pci_bus *pci; /* shape cloud */
};

const bool board_cpu_hotplug = true;

void board_ram(uint64_t size, struct memory *ret)
{
	uint64_t low = size < X86_RAM_LOW_END ? size : X86_RAM_LOW_END;

	ret->n = 0;
	ret->ram[ret->n++] = (struct ram){ .gpa = 0, .size = low };
	if (size > low)
		ret->ram[ret->n++] = (struct ram){ .gpa = X86_RAM_HIGH, .size = size - low, .offset = low };
}

bool board_mmio_place(unsigned n, uint64_t *ret_base, uint32_t *ret_gsi)
{
	uint32_t gsi = X86_GSI_VIRTIO + n;

	if (n >= MMIO_DEVICES)
		return false;
	*ret_base = X86_VIRTIO_MMIO + n * 0x1000ULL;
	*ret_gsi = gsi < GSI_RTC ? gsi : gsi + 1;
	return true;
}

struct pci_bus *board_pci(struct board *b)
{
	return b->pci;
}

/* Half of what the processor can address is for memory, a quarter for BARs: AMD's hole below 1 TiB is in the last. */
static uint64_t address_space(const struct vmm *vm)
{
	return 1ULL << (vm->kvm->phys_bits < 46 ? vm->kvm->phys_bits : 46);
}

void board_region(const struct vmm *vm, gpa_t *ret_base, gpa_t *ret_end)
{
	const uint64_t align = 1ULL << 30;
	uint64_t low = vm->config.memory < X86_RAM_LOW_END ? vm->config.memory : X86_RAM_LOW_END;

	*ret_base = (X86_RAM_HIGH + vm->config.memory - low + align - 1) & ~(align - 1);
	*ret_end = address_space(vm) / 2;
}

/* ---- what the devices ask for ---- */

static void on_reset(void *userdata)
{
	machine_end(userdata, VMM_END_RESET, false, "");
}

static void on_power_off(void *userdata)
{
	machine_end(userdata, VMM_END_POWEROFF, false, "");
}

static void on_eject_cpu(void *userdata, uint32_t cpu)
{
	machine_cpu_ejected(userdata, cpu);
}

static void on_eject_pci(void *userdata, uint32_t slots)
{
	struct vmm *vm = userdata;

	for (unsigned slot = 0; vm->board->pci && slot < PCI_SLOTS; slot++)
		if (slots >> slot & 1)
			pci_bus_ejected(vm->board->pci, slot);
}

static void on_pci_up(void *userdata, unsigned slot)
{
	struct board *b = userdata;

	acpi_events_insert_pci(b->events, 1u << slot);
}

static void on_pci_down(void *userdata, unsigned slot)
{
	struct board *b = userdata;

	acpi_events_remove_pci(b->events, 1u << slot);
}

static void on_pci_gone(void *userdata, unsigned slot)
{
	struct board *b = userdata;

	devices_gone(b->vm, slot);
}

static const struct pci_hotplug_ops hotplug_ops = { on_pci_up, on_pci_down, on_pci_gone };

void board_start_hotplug(struct board *b)
{
	if (b->pci)
		pci_bus_set_hotplug(b->pci, &hotplug_ops, b);
}

static void on_panic(void *userdata, unsigned events)
{
	machine_panicked(userdata);
}

static const struct acpi_events_ops events_ops = {
	.eject_cpu = on_eject_cpu,
	.eject_pci = on_eject_pci,
	.power_off = on_power_off,
	.reset = on_reset,
};

/* ---- building it ---- */

static int set_up_kvm(struct vmm *vm, struct err *e)
{
	const struct kvm_vm_config c = { .split_irqchip = vm->config.split_irqchip,
					 .identity_map = X86_KVM_IDENTITY,
					 .tss = X86_KVM_TSS };

	return kvm_vm_set_up(vm->kvm_vm, &c, e);
}

static int make_lines(struct board *b)
{
	struct platform *p = &b->vm->platform;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < LINES; i++) {
		b->lines[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = b->lines[i] < 0 ? -errno : p->ops->irq_attach(p, line_gsi[i], b->lines[i]);
	}
	return r;
}

static int make_devices(struct board *b)
{
	const struct vmm_config *c = &b->vm->config;
	int r = serial_new(b->vm->loop, b->lines[LINE_SERIAL], c->serial_in, c->serial_out, &b->serial);

	if (r == 0)
		r = i8042_new(b->lines[LINE_KEYBOARD], on_reset, b->vm, &b->keyboard);
	if (r == 0)
		r = rtc_new(b->vm->loop, b->lines[LINE_RTC], &b->rtc);
	if (r == 0)
		r = acpi_events_new(b->lines[LINE_EVENTS], c->vcpus, c->max_vcpus, &events_ops, b->vm, &b->events);
	b->pvpanic = (struct pvpanic){ on_panic, b->vm };
	return r;
}

static int connect_devices(struct board *b)
{
	const struct {
		struct bus *bus;
		uint64_t base, size;
		const struct bus_handler *handler;
		void *device;
	} places[] = {
		{ b->vm->pio, SERIAL_PORT, SERIAL_PORTS, &serial_bus, b->serial },
		{ b->vm->pio, I8042_PORT, I8042_PORTS, &i8042_bus, b->keyboard },
		{ b->vm->pio, RTC_PORT, RTC_PORTS, &rtc_bus, b->rtc },
		{ b->vm->pio, PVPANIC_PORT, 1, &pvpanic_bus, &b->pvpanic },
		{ b->vm->pio, ACPI_RESET_PORT, ACPI_POWER_PORTS, &acpi_power_bus, b->events },
		{ b->vm->mmio, X86_ACPI_EVENTS, ACPI_EVENTS_SIZE, &acpi_events_bus, b->events },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof places / sizeof *places; i++)
		r = bus_add(places[i].bus, places[i].base, places[i].size, places[i].handler, places[i].device,
			    b->vm->loop);
	return r;
}

static int make_pci(struct board *b, struct err *e)
{
	const struct pci_bus_config c = {
		.mmio = b->vm->mmio,
		.pio = b->vm->pio,
		.loop = b->vm->loop,
		.ecam = X86_ECAM,
		.window32 = X86_PCI_MMIO32,
		.window32_size = X86_PCI_MMIO32_END - X86_PCI_MMIO32,
		.window64 = address_space(b->vm) / 2,
		.window64_size = address_space(b->vm) / 4,
	};

	return b->vm->config.shape == VMM_SHAPE_CLOUD ? pci_bus_new(&c, &b->pci, e) : 0;
}

int board_new(struct vmm *vm, struct err *e)
{
	struct board *b = calloc(1, sizeof *b);
	int r;

	if (!b)
		return err_sys(e, ENOMEM, "cannot make the machine's devices");
	for (unsigned i = 0; i < LINES; i++)
		b->lines[i] = -1;
	b->vm = vm;
	r = set_up_kvm(vm, e);
	if (r == 0 && vm->config.split_irqchip)
		r = ioapic_lines_new(vm, X86_IOAPIC, &vm->ioapic, e);
	if (r < 0) {
		board_free(b);
		return r;
	}
	r = make_lines(b);
	if (r == 0)
		r = make_devices(b);
	if (r == 0)
		r = connect_devices(b);
	if (r == 0)
		r = machine_add_boot_timer(vm, X86_BOOT_TIMER);
	if (r < 0) {
		board_free(b);
		return err_sys(e, -r, "cannot make the machine's devices");
	}
	r = make_pci(b, e);
	if (r < 0) {
		board_free(b);
		return r;
	}
	vm->board = b;
	return 0;
}

void board_free(struct board *b)
{
	if (!b)
		return;
	pci_bus_free(b->pci);
	serial_free(b->serial);
	i8042_free(b->keyboard);
	rtc_free(b->rtc);
	acpi_events_free(b->events);
	ioapic_lines_free(b->vm->ioapic);
	b->vm->ioapic = NULL;
	for (unsigned i = 0; i < LINES; i++)
		fd_close(&b->lines[i]);
	free(b);
}

/* ---- starting it ---- */

static int write_acpi(struct vmm *vm, gpa_t *ret_rsdp, struct err *e)
{
	struct acpi_mmio_device virtio[MMIO_DEVICES];
	uint32_t apic_ids[VMM_VCPUS_MAX];
	struct acpi_config c = {
		.vcpus = vm->config.vcpus,
		.max_vcpus = vm->config.max_vcpus,
		.apic_ids = apic_ids,
		.virtio = virtio,
		.n_virtio = devices_mmio(vm, virtio, MMIO_DEVICES),
		.serial = true,
		.keyboard = true,
		.rtc = true,
		.events = X86_ACPI_EVENTS,
		.events_gsi = X86_GSI_ACPI_EVENTS,
		.cpu_hotplug = vm->config.max_vcpus > vm->config.vcpus,
		.vmgenid = X86_VMGENID,
		.pvpanic = true,
		.pci = vm->board->pci,
		.ecam = X86_ECAM,
		.mmio32 = X86_PCI_MMIO32,
		.mmio32_end = X86_PCI_MMIO32_END,
		.mmio64 = address_space(vm) / 2,
		.mmio64_end = address_space(vm) / 4 * 3,
		.pci_hotplug = true,
	};
	int r;

	for (uint32_t i = 0; i < vm->config.max_vcpus; i++)
		apic_ids[i] = i;
	r = acpi_build(vm->mem, &c, X86_ACPI, X86_ACPI_END - X86_ACPI, ret_rsdp, e);
	if (r < 0)
		return r;
	r = vmgenid_renew(vm->mem, X86_VMGENID);
	return r < 0 ? err_sys(e, -r, "cannot make the virtual machine's generation id") : 0;
}

/*
 * Linux on a hardware-reduced machine does not use ACPI's reset register: it asks EFI, and, where there is none, goes
 * back to real mode and jumps to where a PC starts (arch/x86/kernel/reboot.c). What it finds there writes the register.
 */
static int write_reset_code(struct vmm *vm, struct err *e)
{
	static const uint8_t code[] = {
		0xba,
		ACPI_RESET_PORT & 0xff,
		ACPI_RESET_PORT >> 8, /* mov dx, ACPI_RESET_PORT */
		0xb0,
		ACPI_RESET_VALUE, /* mov al, ACPI_RESET_VALUE */
		0xee,             /* out dx, al */
		0xf4,             /* hlt */
		0xeb,
		0xfd, /* jmp to the hlt */
	};
	int r = guestmem_write(vm->mem, X86_RESET, code, sizeof code);

	return r < 0 ? err_sys(e, -r, "cannot write the reset code") : 0;
}

int board_boot(struct vmm *vm, struct err *e)
{
	struct boot_entry entry;
	gpa_t rsdp;
	int r = write_acpi(vm, &rsdp, e);

	if (r == 0)
		r = write_reset_code(vm, e);
	if (r == 0)
		r = machine_load_kernel(vm, boot_load_x86, &(struct boot_config){ .rsdp = rsdp }, &entry, e);
	if (r < 0)
		return r;
	return kvm_vcpu_start_at(vm->vcpus[0].kvm,
				 &(struct kvm_start_x86){ .long_mode = entry.protocol == BOOT_LINUX64,
							  .pc = entry.pc,
							  .arg = entry.arg,
							  .stack = X86_BOOT_STACK,
							  .gdt = X86_GDT,
							  .idt = X86_IDT,
							  .pml4 = X86_PML4 },
				 e);
}

/* ---- while it runs ---- */

int board_power_button(struct vmm *vm, struct err *e)
{
	acpi_events_raise(vm->board->events, ACPI_EVENT_POWER_BUTTON);
	return 0;
}

int board_ctrl_alt_del(struct vmm *vm, struct err *e)
{
	if (i8042_ctrl_alt_del(vm->board->keyboard) < 0)
		return err_set(e, ERR_GUEST, EBUSY, "the guest does not read its keyboard");
	return 0;
}

void board_cpu(struct vmm *vm, unsigned cpu, bool insert)
{
	if (insert)
		acpi_events_insert_cpu(vm->board->events, cpu);
	else
		acpi_events_remove_cpu(vm->board->events, cpu);
}

size_t board_console_tail(const struct board *b, char *buf, size_t size)
{
	return serial_tail(b->serial, buf, size);
}

void board_console_flush(struct board *b)
{
	serial_flush(b->serial);
}

int board_generation(struct vmm *vm, uint8_t *ret)
{
	return guestmem_read(vm->mem, X86_VMGENID, ret, VMGENID_LEN);
}

int board_renew_generation(struct vmm *vm)
{
	int r = vmgenid_renew(vm->mem, X86_VMGENID);

	if (r == 0)
		acpi_events_raise(vm->board->events, ACPI_EVENT_VMGENID);
	return r;
}

void board_save(const struct board *b, struct state *s)
{
	serial_save(b->serial, state_child(s, "serial"));
	i8042_save(b->keyboard, state_child(s, "keyboard"));
	rtc_save(b->rtc, state_child(s, "rtc"));
	acpi_events_save(b->events, state_child(s, "acpi-events"));
	/* After those who raise its lines. */
	if (b->vm->ioapic)
		ioapic_lines_save(b->vm->ioapic, state_child(s, "ioapic"));
}

static int load_ioapic(struct board *b, const struct state *s, struct err *e)
{
	const struct state *ioapic;

	if (!b->vm->ioapic)
		return 0;
	ioapic = state_get_child(s, "ioapic", e);
	return ioapic ? ioapic_lines_load(b->vm->ioapic, ioapic, e) : -ENOENT;
}

int board_load(struct board *b, const struct state *s, struct err *e)
{
	const struct state *serial = state_get_child(s, "serial", e), *keyboard = state_get_child(s, "keyboard", e),
			   *rtc = state_get_child(s, "rtc", e), *events = state_get_child(s, "acpi-events", e);
	int r;

	if (!serial || !keyboard || !rtc || !events)
		return -EINVAL;
	r = load_ioapic(b, s, e); /* before those who raise its lines */
	if (r == 0)
		r = serial_load(b->serial, serial, e);
	if (r == 0)
		r = i8042_load(b->keyboard, keyboard, e);
	if (r == 0)
		r = rtc_load(b->rtc, rtc, e);
	return r < 0 ? r : acpi_events_load(b->events, events, e);
}

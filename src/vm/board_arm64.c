/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arm64 machine: where RAM is, which devices are part of it, and how its kernel starts. There is no firmware; a
 * device tree tells what is there, and the guest switches itself off by PSCI, which KVM serves. All vCPUs are made at
 * once, because KVM's interrupt controller takes no line before and no vCPU after. PCI devices come and go by root
 * ports, which need no firmware (pci/root_port.h).
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "boot/acpi.h"
#include "boot/boot.h"
#include "boot/fdt.h"
#include "boot/layout_arm64.h"
#include "hw/pl031.h"
#include "hw/pl061.h"
#include "hw/pvpanic.h"
#include "hw/serial.h"
#include "hw/vmgenid.h"
#include "kvm/vcpu_arm64.h"
#include "kvm/vm_arm64.h"
#include "pci/pci_bus.h"
#include "state/state.h"
#include "vm/machine.h"

#define MMIO_DEVICES (ARM64_SPI_MAX + 1 - ARM64_SPI_VIRTIO)

_Static_assert(ARM64_SPI_FIRST == KVM_GIC_PRIVATE, "the first line");
_Static_assert(ARM64_SPI_MAX - ARM64_SPI_FIRST < KVM_PINS, "every line has a route");
_Static_assert(ARM64_ECAM_SIZE == (1 + PCI_PORTS_MAX) * PCI_ECAM_SIZE, "the root bus, and one behind each port");
_Static_assert(ARM64_GIC_REDIST + VMM_VCPUS_MAX * ARM64_GIC_REDIST_SIZE <= ARM64_SERIAL, "one for each vCPU");

/* The interrupt lines of the platform's devices. */
enum { LINE_SERIAL, LINE_RTC, LINE_VMGENID, LINE_GPIO, LINES };
static const uint32_t line_intid[LINES] = { ARM64_SPI_SERIAL, ARM64_SPI_RTC, ARM64_SPI_VMGENID, ARM64_SPI_GPIO };

struct board {
	struct vmm *vm;
	int lines[LINES]; /* eventfds */
	struct serial *serial;
	struct pl031 *rtc;
	struct pl061 *gpio; /* with the power button */
	struct pvpanic pvpanic;
	struct pci_bus *pci; /* shape cloud */
	uint64_t mpidr[VMM_VCPUS_MAX];
};

/* Linux takes them by ACPI only, and KVM's interrupt controller serves those that it has started with. */
const bool board_cpu_hotplug = false;

void board_ram(uint64_t size, struct memory *ret)
{
	ret->n = 1;
	ret->ram[0] = (struct ram){ .gpa = ARM64_RAM, .size = size };
}

bool board_mmio_place(unsigned n, uint64_t *ret_base, uint32_t *ret_gsi)
{
	if (n >= MMIO_DEVICES)
		return false;
	*ret_base = ARM64_VIRTIO_MMIO + n * 0x1000ULL;
	*ret_gsi = ARM64_SPI_VIRTIO + n - ARM64_SPI_FIRST;
	return true;
}

struct pci_bus *board_pci(struct board *b)
{
	return b->pci;
}

/*
 * Half of what a guest can address is for memory, a quarter for BARs. Hosts may have 52 bits (LPA, LPA2), but a kernel
 * for pages of 4 KiB has 48 unless it was built for more (CONFIG_ARM64_PA_BITS), and maps nothing beyond.
 */
static uint64_t address_space(const struct vmm *vm)
{
	return 1ULL << (vm->kvm->phys_bits < 48 ? vm->kvm->phys_bits : 48);
}

void board_region(const struct vmm *vm, gpa_t *ret_base, gpa_t *ret_end)
{
	const uint64_t align = 1ULL << 30;

	*ret_base = (ARM64_RAM + vm->config.memory + align - 1) & ~(align - 1);
	*ret_end = address_space(vm) / 2;
}

/* ---- building it ---- */

static int check_config(const struct vmm_config *c, struct err *e)
{
	if (c->max_vcpus != c->vcpus)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "%u vCPUs of at most %u: on arm64 none can be added to a machine that runs", c->vcpus,
			       c->max_vcpus);
	if (c->threads_per_core != 1)
		return err_set(e, ERR_CONFIG, ENOTSUP, "cores with several threads are not supported on arm64");
	return 0;
}

static int set_up_kvm(struct vmm *vm, struct err *e)
{
	const struct kvm_vm_config c = { .gic_dist = ARM64_GIC_DIST,
					 .gic_redist = ARM64_GIC_REDIST,
					 .gic_its = vm->config.shape == VMM_SHAPE_CLOUD ? ARM64_GIC_ITS : 0 };

	return kvm_vm_set_up(vm->kvm_vm, &c, e);
}

static int make_cpus(struct board *b, struct err *e)
{
	struct vmm *vm = b->vm;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < vm->config.vcpus; i++) {
		r = vcpu_new(vm, i, e);
		if (r == 0)
			r = kvm_vcpu_mpidr(vm->vcpus[i].kvm, &b->mpidr[i], e);
	}
	return r < 0 ? r : kvm_vm_start_gic(vm->kvm_vm, b->mpidr, vm->config.vcpus, e);
}

static void on_panic(void *userdata, unsigned events)
{
	machine_panicked(userdata);
}

static int connect_devices(struct board *b)
{
	const struct {
		uint64_t base, size;
		const struct bus_handler *handler;
		void *device;
	} places[] = {
		{ ARM64_SERIAL, SERIAL_PORTS, &serial_bus, b->serial },
		{ ARM64_RTC, PL031_SIZE, &pl031_bus, b->rtc },
		{ ARM64_GPIO, PL061_SIZE, &pl061_bus, b->gpio },
		{ ARM64_PVPANIC, PVPANIC_SIZE, &pvpanic_bus, &b->pvpanic },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof places / sizeof *places; i++)
		r = bus_add(b->vm->mmio, places[i].base, places[i].size, places[i].handler, places[i].device,
			    b->vm->loop);
	return r;
}

static int make_devices(struct board *b)
{
	struct vmm *vm = b->vm;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < LINES; i++) {
		b->lines[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = b->lines[i] < 0 ? -errno
				    : kvm_vm_irqfd(vm->kvm_vm, line_intid[i] - ARM64_SPI_FIRST, b->lines[i], true);
	}
	if (r == 0)
		r = serial_new(vm->loop, b->lines[LINE_SERIAL], vm->config.serial_in, vm->config.serial_out,
			       &b->serial);
	if (r == 0)
		r = pl031_new(vm->loop, b->lines[LINE_RTC], &b->rtc);
	if (r == 0)
		r = pl061_new(vm->loop, b->lines[LINE_GPIO], &b->gpio);
	b->pvpanic = (struct pvpanic){ on_panic, vm };
	return r < 0 ? r : connect_devices(b);
}

static int make_pci(struct board *b, struct err *e)
{
	const struct pci_bus_config c = {
		.mmio = b->vm->mmio,
		.loop = b->vm->loop,
		.ecam = ARM64_ECAM,
		.ports = PCI_PORTS_MAX,
		.platform = &b->vm->platform,
		.window32 = ARM64_PCI_MMIO32,
		.window32_size = ARM64_PCI_MMIO32_END - ARM64_PCI_MMIO32,
		.window64 = address_space(b->vm) / 2,
		.window64_size = address_space(b->vm) / 4,
	};

	return b->vm->config.shape == VMM_SHAPE_CLOUD ? pci_bus_new(&c, &b->pci, e) : 0;
}

int board_new(struct vmm *vm, struct err *e)
{
	struct board *b;
	int r = check_config(&vm->config, e);

	if (r < 0)
		return r;
	b = calloc(1, sizeof *b);
	if (!b)
		return err_sys(e, ENOMEM, "cannot make the machine's devices");
	for (unsigned i = 0; i < LINES; i++)
		b->lines[i] = -1;
	b->vm = vm;
	r = set_up_kvm(vm, e);
	if (r == 0)
		r = make_cpus(b, e);
	if (r == 0) {
		r = make_devices(b);
		if (r == 0)
			r = machine_add_boot_timer(vm, ARM64_BOOT_TIMER);
		if (r < 0)
			err_sys(e, -r, "cannot make the machine's devices");
	}
	if (r == 0)
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
	pl031_free(b->rtc);
	pl061_free(b->gpio);
	for (unsigned i = 0; i < LINES; i++)
		fd_close(&b->lines[i]);
	free(b);
}

/* ---- starting it ---- */

static size_t list_virtio(const struct vmm *vm, struct fdt_device ret[MMIO_DEVICES])
{
	struct acpi_mmio_device found[MMIO_DEVICES];
	size_t n = devices_mmio(vm, found, MMIO_DEVICES);

	for (size_t i = 0; i < n; i++)
		ret[i] = (struct fdt_device){ found[i].base, found[i].size, found[i].gsi + ARM64_SPI_FIRST };
	return n;
}

static int write_fdt(struct vmm *vm, const struct boot_entry *entry, struct err *e)
{
	struct fdt_device virtio[MMIO_DEVICES];
	uint8_t seed[FDT_RNG_SEED_SIZE];
	struct boot_ram ram[RAM_MAX];
	struct fdt_config c = {
		.ram = ram,
		.n_ram = machine_boot_ram(vm, ram),
		.cmdline = vm->config.cmdline,
		.initrd = entry->initrd,
		.initrd_size = entry->initrd_size,
		.mpidr = vm->board->mpidr,
		.vcpus = vm->config.vcpus,
		.gic_dist = ARM64_GIC_DIST,
		.gic_dist_size = ARM64_GIC_DIST_SIZE,
		.gic_redist = ARM64_GIC_REDIST,
		.gic_redist_size = ARM64_GIC_REDIST_SIZE * vm->config.vcpus,
		.gic_its = ARM64_GIC_ITS,
		.gic_its_size = vm->config.shape == VMM_SHAPE_CLOUD ? ARM64_GIC_ITS_SIZE : 0,
		.serial = { ARM64_SERIAL, SERIAL_PORTS, ARM64_SPI_SERIAL },
		.rtc = { ARM64_RTC, PL031_SIZE, ARM64_SPI_RTC },
		.gpio = { ARM64_GPIO, PL061_SIZE, ARM64_SPI_GPIO },
		.power_button = PL061_BUTTON,
		.pvpanic = { .base = ARM64_PVPANIC, .size = PVPANIC_SIZE },
		.virtio = virtio,
		.n_virtio = list_virtio(vm, virtio),
		.vmgenid = ARM64_VMGENID,
		.vmgenid_size = ARM64_VMGENID_SIZE,
		.vmgenid_intid = ARM64_SPI_VMGENID,
		.pci = vm->board->pci,
		.ecam = ARM64_ECAM,
		.ecam_size = ARM64_ECAM_SIZE,
		.bus_end = PCI_PORTS_MAX,
		.mmio32 = ARM64_PCI_MMIO32,
		.mmio32_end = ARM64_PCI_MMIO32_END,
		.mmio64 = address_space(vm) / 2,
		.mmio64_end = address_space(vm) / 4 * 3,
	};
	uint64_t size;

	/* This short, it comes whole, or not at all. */
	if (getrandom(seed, sizeof seed, 0) == sizeof seed)
		c.rng_seed = seed;
	return fdt_build(vm->mem, &c, ARM64_FDT, ARM64_FDT_MAX, &size, e);
}

int board_boot(struct vmm *vm, struct err *e)
{
	const struct boot_config place = { .fdt = ARM64_FDT,
					   .fdt_size = ARM64_VMGENID + ARM64_VMGENID_SIZE - ARM64_FDT };
	struct boot_entry entry;
	int r = machine_load_kernel(vm, boot_load_arm64, &place, &entry, e);

	if (r == 0)
		r = write_fdt(vm, &entry, e);
	if (r == 0) {
		r = vmgenid_renew(vm->mem, ARM64_VMGENID);
		if (r < 0)
			err_sys(e, -r, "cannot make the virtual machine's generation id");
	}
	return r < 0 ? r : kvm_vcpu_start_at(vm->vcpus[0].kvm, entry.pc, entry.arg, e);
}

/* ---- while it runs ---- */

int board_power_button(struct vmm *vm, struct err *e)
{
	pl061_press(vm->board->gpio);
	return 0;
}

int board_ctrl_alt_del(struct vmm *vm, struct err *e)
{
	return err_set(e, ERR_CONFIG, ENOTSUP, "the arm64 machine has no keyboard");
}

static void on_pci_gone(void *userdata, unsigned slot)
{
	struct board *b = userdata;

	devices_gone(b->vm, slot);
}

void board_start_hotplug(struct board *b)
{
	/* Without ACPI nobody could tell the guest of the root bus's slots: all goes by the root ports. */
	static const struct pci_hotplug_ops ops = { .gone = on_pci_gone };

	if (b->pci)
		pci_bus_set_hotplug(b->pci, &ops, b);
}

void board_cpu(struct vmm *vm, unsigned cpu, bool insert)
{
	/* All are there for good: see check_config(). */
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
	return guestmem_read(vm->mem, ARM64_VMGENID, ret, VMGENID_LEN);
}

int board_renew_generation(struct vmm *vm)
{
	uint64_t one = 1;
	int r = vmgenid_renew(vm->mem, ARM64_VMGENID);

	if (r == 0 && write(vm->board->lines[LINE_VMGENID], &one, sizeof one) < 0) {
		/* A full counter is raised already. */
	}
	return r;
}

void board_save(const struct board *b, struct state *s)
{
	serial_save(b->serial, state_child(s, "serial"));
	pl031_save(b->rtc, state_child(s, "rtc"));
	pl061_save(b->gpio, state_child(s, "gpio"));
}

int board_load(struct board *b, const struct state *s, struct err *e)
{
	const struct state *serial = state_get_child(s, "serial", e), *rtc = state_get_child(s, "rtc", e),
			   *gpio = state_get_child(s, "gpio", e);
	int r;

	if (!serial || !rtc || !gpio)
		return -EINVAL;
	r = serial_load(b->serial, serial, e);
	if (r == 0)
		r = pl031_load(b->rtc, rtc, e);
	return r < 0 ? r : pl061_load(b->gpio, gpio, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties are those of Linux's bindings (Documentation/devicetree/bindings), named at each node. All addresses and
 * sizes have two cells.
 */
#include "boot/fdt.h"

#include <errno.h>
#include <stdio.h>

#include "boot/fdt_writer.h"
#include "boot/layout_arm64.h"

enum { PHANDLE_GIC = 1, PHANDLE_ITS = 2, PHANDLE_CLOCK = 3, PHANDLE_GPIO = 4 };

/* interrupts: kind, number, flags (interrupt-controller/arm,gic-v3.yaml). */
enum { GIC_SPI = 0, GIC_PPI = 1 };
enum { IRQ_EDGE_RISING = 1, IRQ_LEVEL_HIGH = 4 };
#define PPI_FIRST 16

/* Address space of a range of the PCI bus (IEEE 1275 PCI binding §2.2.1.1). */
enum { PCI_MEM32 = 0x02000000, PCI_MEM64 = 0x03000000 };

static void reg(struct fdt_writer *w, uint64_t base, uint64_t size)
{
	fdt_prop_reg(w, (const uint64_t[]){ base, size }, 1);
}

static void interrupt(struct fdt_writer *w, uint32_t intid)
{
	fdt_prop_cells(w, "interrupts", (const uint32_t[]){ GIC_SPI, intid - ARM64_SPI_FIRST, IRQ_EDGE_RISING }, 3);
}

static void memory(struct fdt_writer *w, const struct fdt_config *c)
{
	for (size_t i = 0; i < c->n_ram; i++) {
		fdt_node_at(w, "memory", c->ram[i].base);
		fdt_prop_str(w, "device_type", "memory");
		reg(w, c->ram[i].base, c->ram[i].size);
		fdt_node_end(w);
	}
}

static void serial_path(const struct fdt_config *c, char *out, size_t size)
{
	snprintf(out, size, "/serial@%llx", (unsigned long long)c->serial.base);
}

static void chosen(struct fdt_writer *w, const struct fdt_config *c)
{
	char path[64];

	fdt_node(w, "chosen");
	fdt_prop_str(w, "bootargs", c->cmdline);
	if (c->serial.size) {
		serial_path(c, path, sizeof path);
		fdt_prop_str(w, "stdout-path", path);
	}
	if (c->initrd_size) {
		fdt_prop_u64(w, "linux,initrd-start", c->initrd);
		fdt_prop_u64(w, "linux,initrd-end", c->initrd + c->initrd_size);
	}
	if (c->rng_seed)
		fdt_prop(w, "rng-seed", c->rng_seed, FDT_RNG_SEED_SIZE);
	if (c->pci) /* There is no firmware that had assigned addresses: the kernel does. */
		fdt_prop_u32(w, "linux,pci-probe-only", 0);
	fdt_node_end(w);
}

/* arm/cpus.yaml, arm/psci.yaml: the host's KVM answers PSCI calls by HVC. */
static void cpus(struct fdt_writer *w, const struct fdt_config *c)
{
	fdt_node(w, "psci");
	fdt_prop_strs(w, "compatible", "arm,psci-1.0\0arm,psci-0.2", sizeof "arm,psci-1.0\0arm,psci-0.2");
	fdt_prop_str(w, "method", "hvc");
	fdt_node_end(w);

	fdt_node(w, "cpus");
	fdt_prop_u32(w, "#address-cells", 2);
	fdt_prop_u32(w, "#size-cells", 0);
	for (uint32_t i = 0; i < c->vcpus; i++) {
		fdt_node_at(w, "cpu", c->mpidr[i]);
		fdt_prop_str(w, "device_type", "cpu");
		fdt_prop_str(w, "compatible", "arm,armv8");
		fdt_prop_u64(w, "reg", c->mpidr[i]);
		fdt_prop_str(w, "enable-method", "psci");
		fdt_node_end(w);
	}
	fdt_node_end(w);
}

static void gic(struct fdt_writer *w, const struct fdt_config *c)
{
	fdt_node_at(w, "interrupt-controller", c->gic_dist);
	fdt_prop_str(w, "compatible", "arm,gic-v3");
	fdt_prop_empty(w, "interrupt-controller");
	fdt_prop_u32(w, "#interrupt-cells", 3);
	fdt_prop_u32(w, "#address-cells", 2);
	fdt_prop_u32(w, "#size-cells", 2);
	fdt_prop_empty(w, "ranges");
	fdt_prop_reg(w, (const uint64_t[]){ c->gic_dist, c->gic_dist_size, c->gic_redist, c->gic_redist_size }, 2);
	fdt_prop_u32(w, "phandle", PHANDLE_GIC);
	if (c->gic_its_size) {
		fdt_node_at(w, "msi-controller", c->gic_its);
		fdt_prop_str(w, "compatible", "arm,gic-v3-its");
		fdt_prop_empty(w, "msi-controller");
		fdt_prop_u32(w, "#msi-cells", 1);
		reg(w, c->gic_its, c->gic_its_size);
		fdt_prop_u32(w, "phandle", PHANDLE_ITS);
		fdt_node_end(w);
	}
	fdt_node_end(w);
}

/* timer/arm,arch_timer.yaml: secure, non-secure, virtual, hypervisor. */
static void timer(struct fdt_writer *w)
{
	static const uint32_t intids[] = { ARM64_PPI_TIMER_SECURE, ARM64_PPI_TIMER, ARM64_PPI_TIMER_VIRTUAL,
					   ARM64_PPI_TIMER_HYP };
	uint32_t cells[12];

	for (size_t i = 0; i < 4; i++) {
		cells[3 * i] = GIC_PPI;
		cells[3 * i + 1] = intids[i] - PPI_FIRST;
		cells[3 * i + 2] = IRQ_LEVEL_HIGH;
	}
	fdt_node(w, "timer");
	fdt_prop_str(w, "compatible", "arm,armv8-timer");
	fdt_prop_cells(w, "interrupts", cells, 12);
	fdt_prop_empty(w, "always-on");
	fdt_node_end(w);
}

/* The clock that the real-time clock, as every PrimeCell device, hangs on. */
static void clock(struct fdt_writer *w)
{
	fdt_node(w, "apb-pclk");
	fdt_prop_str(w, "compatible", "fixed-clock");
	fdt_prop_u32(w, "#clock-cells", 0);
	fdt_prop_u32(w, "clock-frequency", 24000000);
	fdt_prop_str(w, "clock-output-names", "clk24mhz");
	fdt_prop_u32(w, "phandle", PHANDLE_CLOCK);
	fdt_node_end(w);
}

/* serial/8250.yaml: KVM's guests do not wait for the bits of a real line, so any clock will do; this is the PC's. */
static void serial(struct fdt_writer *w, const struct fdt_config *c)
{
	if (!c->serial.size)
		return;
	fdt_node_at(w, "serial", c->serial.base);
	fdt_prop_str(w, "compatible", "ns16550a");
	fdt_prop_u32(w, "clock-frequency", 1843200);
	reg(w, c->serial.base, c->serial.size);
	interrupt(w, c->serial.intid);
	fdt_node_end(w);
}

static void rtc(struct fdt_writer *w, const struct fdt_config *c)
{
	if (!c->rtc.size)
		return;
	fdt_node_at(w, "rtc", c->rtc.base);
	fdt_prop_strs(w, "compatible", "arm,pl031\0arm,primecell", sizeof "arm,pl031\0arm,primecell");
	reg(w, c->rtc.base, c->rtc.size);
	interrupt(w, c->rtc.intid);
	fdt_prop_u32(w, "clocks", PHANDLE_CLOCK);
	fdt_prop_str(w, "clock-names", "apb_pclk");
	fdt_node_end(w);
}

/* gpio/pl061-gpio.yaml, input/gpio-keys.yaml; KEY_POWER of linux/input-event-codes.h. */
static void power_button(struct fdt_writer *w, const struct fdt_config *c)
{
	enum { ACTIVE_HIGH = 0, KEY_POWER = 116 };

	if (!c->gpio.size)
		return;
	fdt_node_at(w, "gpio", c->gpio.base);
	fdt_prop_strs(w, "compatible", "arm,pl061\0arm,primecell", sizeof "arm,pl061\0arm,primecell");
	reg(w, c->gpio.base, c->gpio.size);
	interrupt(w, c->gpio.intid);
	fdt_prop_empty(w, "gpio-controller");
	fdt_prop_u32(w, "#gpio-cells", 2);
	fdt_prop_u32(w, "clocks", PHANDLE_CLOCK);
	fdt_prop_str(w, "clock-names", "apb_pclk");
	fdt_prop_u32(w, "phandle", PHANDLE_GPIO);
	fdt_node_end(w);
	fdt_node(w, "gpio-keys");
	fdt_prop_str(w, "compatible", "gpio-keys");
	fdt_node(w, "power");
	fdt_prop_str(w, "label", "Power Button");
	fdt_prop_u32(w, "linux,code", KEY_POWER);
	fdt_prop_cells(w, "gpios", (const uint32_t[]){ PHANDLE_GPIO, c->power_button, ACTIVE_HIGH }, 3);
	fdt_node_end(w);
	fdt_node_end(w);
}

/* misc/pvpanic-mmio.txt */
static void pvpanic(struct fdt_writer *w, const struct fdt_config *c)
{
	if (!c->pvpanic.size)
		return;
	fdt_node_at(w, "pvpanic", c->pvpanic.base);
	fdt_prop_str(w, "compatible", "qemu,pvpanic-mmio");
	reg(w, c->pvpanic.base, c->pvpanic.size);
	fdt_node_end(w);
}

/* virtio/mmio.yaml */
static void virtio(struct fdt_writer *w, const struct fdt_config *c)
{
	for (size_t i = 0; i < c->n_virtio; i++) {
		fdt_node_at(w, "virtio_mmio", c->virtio[i].base);
		fdt_prop_str(w, "compatible", "virtio,mmio");
		reg(w, c->virtio[i].base, c->virtio[i].size);
		interrupt(w, c->virtio[i].intid);
		fdt_prop_empty(w, "dma-coherent");
		fdt_node_end(w);
	}
}

/* rng/microsoft,vmgenid.yaml; reserved-memory/reserved-memory.yaml: a driver maps registers only where no RAM is. */
static void vmgenid(struct fdt_writer *w, const struct fdt_config *c)
{
	if (!c->vmgenid)
		return;
	fdt_node(w, "reserved-memory");
	fdt_prop_u32(w, "#address-cells", 2);
	fdt_prop_u32(w, "#size-cells", 2);
	fdt_prop_empty(w, "ranges");
	fdt_node_at(w, "vmgenid", c->vmgenid);
	reg(w, c->vmgenid, c->vmgenid_size);
	fdt_prop_empty(w, "no-map");
	fdt_node_end(w);
	fdt_node_end(w);
	fdt_node_at(w, "vmgenid", c->vmgenid);
	fdt_prop_str(w, "compatible", "microsoft,vmgenid");
	reg(w, c->vmgenid, 16);
	interrupt(w, c->vmgenid_intid);
	fdt_node_end(w);
}

/* One entry of "ranges": PCI address, CPU address, size. */
static size_t pci_range(uint32_t *cells, uint32_t space, uint64_t start, uint64_t end)
{
	if (start >= end)
		return 0;
	cells[0] = space;
	cells[1] = cells[3] = (uint32_t)(start >> 32);
	cells[2] = cells[4] = (uint32_t)start;
	cells[5] = (uint32_t)((end - start) >> 32);
	cells[6] = (uint32_t)(end - start);
	return 7;
}

/* pci/host-generic-pci.yaml. No interrupt lines: every device has MSI-X. */
static void pci(struct fdt_writer *w, const struct fdt_config *c)
{
	uint32_t ranges[14];
	size_t n;

	if (!c->pci)
		return;
	n = pci_range(ranges, PCI_MEM32, c->mmio32, c->mmio32_end);
	n += pci_range(ranges + n, PCI_MEM64, c->mmio64, c->mmio64_end);
	fdt_node_at(w, "pcie", c->ecam);
	fdt_prop_str(w, "compatible", "pci-host-ecam-generic");
	fdt_prop_str(w, "device_type", "pci");
	fdt_prop_u32(w, "#address-cells", 3);
	fdt_prop_u32(w, "#size-cells", 2);
	fdt_prop_u32(w, "linux,pci-domain", 0);
	fdt_prop_cells(w, "bus-range", (const uint32_t[]){ 0, c->bus_end }, 2);
	reg(w, c->ecam, c->ecam_size);
	fdt_prop_cells(w, "ranges", ranges, n);
	fdt_prop_empty(w, "dma-coherent");
	if (c->gic_its_size)
		fdt_prop_cells(w, "msi-map", (const uint32_t[]){ 0, PHANDLE_ITS, 0, 0x10000 }, 4);
	fdt_node_end(w);
}

static void machine(struct fdt_writer *w, const struct fdt_config *c)
{
	fdt_node(w, "");
	fdt_prop_u32(w, "#address-cells", 2);
	fdt_prop_u32(w, "#size-cells", 2);
	fdt_prop_str(w, "compatible", "linux,dummy-virt");
	fdt_prop_str(w, "model", "caisson");
	fdt_prop_u32(w, "interrupt-parent", PHANDLE_GIC);
	chosen(w, c);
	memory(w, c);
	cpus(w, c);
	gic(w, c);
	timer(w);
	clock(w);
	serial(w, c);
	rtc(w, c);
	power_button(w, c);
	pvpanic(w, c);
	virtio(w, c);
	vmgenid(w, c);
	pci(w, c);
	fdt_node_end(w);
}

int fdt_build(struct guestmem *mem, const struct fdt_config *c, gpa_t area, uint64_t size, uint64_t *ret_size,
	      struct err *e)
{
	_cleanup_fdt_writer_ struct fdt_writer w = { 0 };
	const void *tree;
	size_t len;
	int r = fdt_writer_init(&w, size);

	if (r == 0) {
		machine(&w, c);
		r = fdt_writer_finish(&w, &tree, &len);
	}
	if (r == -ENOSPC)
		return err_set(e, ERR_LIMIT, ENOSPC, "the device tree needs more room than %llu bytes",
			       (unsigned long long)size);
	if (r < 0)
		return err_sys(e, -r, "make the device tree");
	r = guestmem_write(mem, area, tree, len);
	if (r < 0)
		return err_sys(e, -r, "write the device tree to guest memory at 0x%llx", (unsigned long long)area);
	*ret_size = len;
	return 0;
}

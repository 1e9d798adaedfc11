/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest kernel's command line: what QEMU's machines need and what makes the kernel start faster on them, then the
 * root device of an image, then the caller's parameters, which win because the kernel takes the last word.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/strv.h"
#include "hypervisor/guest_params.h"
#include "hypervisor/guest_root.h"
#include "hypervisor/qemu_argv.h"

bool qemu_image_is_pmem(const struct vm_config *c, enum qemu_machine machine)
{
	const char *driver = c->hv->vm_rootfs_driver;

	/* nvdimm needs ACPI tables that microvm lacks, and arm64 passes them with UEFI only. */
	if (str_empty(c->image) || machine != QEMU_Q35 || c->hv->disable_image_nvdimm)
		return false;
	return str_empty(driver) || str_eq(driver, "virtio-pmem") || str_eq(driver, "nvdimm");
}

int qemu_image_facts(const struct vm_config *c, struct qemu_facts *facts, struct err *e)
{
	struct stat st;

	if (str_empty(c->image))
		return 0;
	if (stat(c->image, &st) < 0)
		return err_sys(e, errno, "cannot read the guest image %s", c->image);
	facts->image_bytes = (uint64_t)st.st_size;
	return dax_image_read(c->image, facts->image_bytes, &facts->image_dax, e);
}

/*
 * An emulated TSC is the host's, and goes on while the virtual CPU does not run. Linux measures it by the PIT; a pause
 * between starting the one and first looking at the other makes it seem slow, and what the PM timer says is then only
 * good for a warning. On a busy host, 1 guest of 24 believed in 870 MHz where there were 2445: its clock ran almost
 * three times too fast, and its time limits were over too soon.
 * With -icount (see add_accel()) the TSC counts nanoseconds, and the kernel has nothing to measure it by.
 */
static int add_tsc_rate(const struct qemu_plan *plan, struct strv *p)
{
	_cleanup_free_ char *param = NULL;
	uint32_t khz = plan->facts->kvm ? 0 : qemu_counts_instructions(plan) ? 1000000 : plan->facts->tsc_khz;

	if (khz == 0)
		return 0;
	param = str_printf("tsc_early_khz=%u", khz);
	return param ? strv_add(p, param) : -ENOMEM;
}

static int add_defaults(const struct qemu_plan *plan, struct strv *p)
{
	const struct config_hypervisor *hv = plan->config->hv;
	bool x86 = plan->layout.machine != QEMU_VIRT;
	int r = x86 ? guest_params_x86(p) : 0;

	if (r == 0 && x86)
		r = add_tsc_rate(plan, p);
	if (r == 0)
		r = guest_params_any(p);
	if (r == 0 && hv->enable_iommu && plan->layout.machine == QEMU_Q35)
		r = strv_add(p, "intel_iommu=on") < 0 ? -ENOMEM : strv_add(p, "iommu=pt");
	/*
	 * Added memory becomes movable, so that it can be taken out again, unless that would leave the kernel with less
	 * than a third as much of its own as there is of it (auto_movable_ratio). Linux 5.16 and newer.
	 */
	if (r == 0 && qemu_wants_memory_hotplug(plan))
		r = strv_add(p, "memory_hotplug.online_policy=auto-movable");
	if (r == 0)
		r = guest_params_manner(hv, p);
	/* The serial port is there from the first line on, so that a panic before any driver is seen, too. */
	if (r == 0)
		r = strv_add(p, plan->layout.machine == QEMU_VIRT ? "console=ttyAMA0" : "console=ttyS0");
	if (r == 0 && qemu_has_virtconsole(plan))
		r = strv_add(p, "console=hvc0");
	return r;
}

int qemu_kernel_command_line(const struct qemu_plan *plan, struct buf *ret, struct err *e)
{
	_cleanup_strv_ struct strv p = { 0 };
	const struct vm_config *c = plan->config;
	bool pmem;
	int r = add_defaults(plan, &p);

	if (r < 0)
		return err_sys(e, -r, "kernel command line");
	pmem = qemu_image_is_pmem(c, plan->layout.machine);
	r = guest_root_params(c, pmem, pmem && plan->facts->image_dax == DAX_IMAGE_PAGES, &p, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->kernel_params.len && r == 0; i++) {
		/* microvm has no keyboard controller; a kernel that waits for one takes seconds to end. */
		if (plan->layout.machine == QEMU_MICROVM && str_eq(c->kernel_params.v[i], "reboot=k"))
			continue;
		r = strv_add(&p, c->kernel_params.v[i]);
	}
	return r < 0 ? err_sys(e, -r, "kernel command line") : guest_params_join(&p, 0, ret, e);
}

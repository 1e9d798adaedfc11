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

/* "root_hash=..,salt=..,data_blocks=..,data_block_size=..,hash_block_size=.." (Kata). */
struct verity {
	char root_hash[129], salt[513];
	uint64_t data_blocks, data_block_size, hash_block_size;
};

static bool is_hex(const char *s)
{
	return *s && strspn(s, "0123456789abcdefABCDEF") == strlen(s);
}

static int verity_parse(const char *params, struct verity *v, struct err *e)
{
	_cleanup_free_ char *copy = strdup(params);
	char *save = NULL;
	int r = 0;

	if (!copy)
		return err_sys(e, ENOMEM, "kernel_verity_params");
	for (char *p = strtok_r(copy, ", ", &save); p && r == 0; p = strtok_r(NULL, ", ", &save)) {
		const char *x;

		if ((x = str_after(p, "root_hash=")))
			r = is_hex(x) && strlen(x) < sizeof v->root_hash ? (strcpy(v->root_hash, x), 0) : -EINVAL;
		else if ((x = str_after(p, "salt=")))
			r = (is_hex(x) || str_eq(x, "-")) && strlen(x) < sizeof v->salt ? (strcpy(v->salt, x), 0)
											: -EINVAL;
		else if ((x = str_after(p, "data_blocks=")))
			r = str_to_u64(x, 10, &v->data_blocks);
		else if ((x = str_after(p, "data_block_size=")))
			r = str_to_u64(x, 10, &v->data_block_size);
		else if ((x = str_after(p, "hash_block_size=")))
			r = str_to_u64(x, 10, &v->hash_block_size);
		else
			r = -EINVAL;
		if (r < 0)
			return err_set(e, ERR_CONFIG, EINVAL, "kernel_verity_params: \"%s\" is not understood", p);
	}
	if (!v->root_hash[0] || !v->salt[0] || !v->data_blocks || v->data_block_size < 512 || !v->hash_block_size ||
	    v->data_block_size % 512)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "kernel_verity_params needs root_hash, salt, data_blocks, data_block_size and "
			       "hash_block_size");
	return 0;
}

int qemu_root_params(const struct vm_config *c, bool pmem, bool dax, struct strv *ret, struct err *e)
{
	const char *type = str_empty(c->hv->rootfs_type) ? "ext4" : c->hv->rootfs_type;
	const char *disk = pmem ? "/dev/pmem0p" : "/dev/vda";
	struct verity v = { 0 };
	uint64_t sectors;
	int r = 0;

	if (str_empty(c->image))
		return 0;
	if (!str_eq(type, "ext4") && !str_eq(type, "xfs") && !str_eq(type, "erofs"))
		return err_set(e, ERR_CONFIG, EINVAL, "rootfs_type \"%s\": use ext4, xfs or erofs", type);
	if (!str_empty(c->hv->kernel_verity_params)) {
		r = verity_parse(c->hv->kernel_verity_params, &v, e);
		if (r < 0)
			return r;
		if (__builtin_mul_overflow(v.data_blocks, v.data_block_size / 512, &sectors))
			return err_set(e, ERR_CONFIG, ERANGE, "kernel_verity_params: data_blocks is too large");
		r = strv_addf(
			ret, "dm-mod.create=\"dm-verity,,,ro,0 %llu verity 1 %s1 %s2 %llu %llu %llu 0 sha256 %s %s\"",
			(unsigned long long)sectors, disk, disk, (unsigned long long)v.data_block_size,
			(unsigned long long)v.hash_block_size, (unsigned long long)v.data_blocks, v.root_hash, v.salt);
		if (r == 0)
			r = strv_add(ret, "root=/dev/dm-0");
		dax = false; /* device-mapper's verity has to read what it checks: it offers no DAX */
	} else {
		r = strv_addf(ret, "root=%s1", disk);
	}
	/*
	 * DAX maps the image into the guest page by page: nothing of it is copied into guest memory. A file system
	 * whose device cannot do that refuses to be mounted with it, and the kernel panics.
	 */
	if (r == 0 && str_eq(type, "ext4"))
		r = strv_addf(ret, "rootflags=%sdata=ordered,errors=remount-ro", dax ? "dax," : "");
	else if (r == 0 && dax)
		r = strv_add(ret, "rootflags=dax");
	if (r == 0)
		r = strv_add(ret, "ro");
	if (r == 0)
		r = strv_addf(ret, "rootfstype=%s", type);
	return r < 0 ? err_sys(e, -r, "kernel command line") : 0;
}

static int add_defaults(const struct qemu_plan *plan, struct strv *p)
{
	const struct config_hypervisor *hv = plan->config->hv;
	/*
	 * Debian's cloud kernel to its init, q35 under TCG, best of 3 on the same machine: 2.1 s without these, 1.8 s
	 * with tsc=reliable no_timer_check cryptomgr.notests, 1.7 s with noreplace-smp. None of them takes a
	 * protection away. reboot=t: a triple fault ends QEMU (-no-reboot) at once on every machine.
	 */
	static const char *const x86[] = { "tsc=reliable", "no_timer_check", "noreplace-smp", "reboot=t" };
	static const char *const all[] = { "cryptomgr.notests", "rcupdate.rcu_expedited=1", "panic=-1" };
	int r = 0;

	for (size_t i = 0; i < sizeof x86 / sizeof *x86 && r == 0 && plan->layout.machine != QEMU_VIRT; i++)
		r = strv_add(p, x86[i]);
	/* See add_accel(): with -icount the TSC counts nanoseconds, and this kernel has nothing to measure it by. */
	if (r == 0 && qemu_counts_instructions(plan))
		r = strv_add(p, "tsc_early_khz=1000000");
	for (size_t i = 0; i < sizeof all / sizeof *all && r == 0; i++)
		r = strv_add(p, all[i]);
	if (r == 0 && hv->enable_iommu && plan->layout.machine == QEMU_Q35)
		r = strv_add(p, "intel_iommu=on") < 0 ? -ENOMEM : strv_add(p, "iommu=pt");
	/*
	 * Added memory becomes movable, so that it can be taken out again, unless that would leave the kernel with less
	 * than a third as much of its own as there is of it (auto_movable_ratio). Linux 5.16 and newer.
	 */
	if (r == 0 && qemu_wants_memory_hotplug(plan))
		r = strv_add(p, "memory_hotplug.online_policy=auto-movable");
	if (r == 0)
		r = strv_add(p, hv->disable_guest_selinux ? "selinux=0" : "selinux=1");
	if (r == 0)
		r = strv_add(p, hv->enable_debug ? "debug" : "quiet");
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
	r = qemu_root_params(c, pmem, pmem && plan->facts->image_dax == DAX_IMAGE_PAGES, &p, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->kernel_params.len && r == 0; i++) {
		/* microvm has no keyboard controller; a kernel that waits for one takes seconds to end. */
		if (plan->layout.machine == QEMU_MICROVM && str_eq(c->kernel_params.v[i], "reboot=k"))
			continue;
		r = strv_add(&p, c->kernel_params.v[i]);
	}
	for (size_t i = 0; i < p.len && r == 0; i++)
		r = buf_printf(ret, "%s%s", i ? " " : "", p.v[i]);
	if (r < 0)
		return err_sys(e, -r, "kernel command line");
	/* COMMAND_LINE_SIZE of Linux is 2048 on x86 and arm64; what is behind it is lost without a word. */
	if (ret->len >= 2048)
		return err_set(e, ERR_CONFIG, E2BIG,
			       "the kernel command line has %zu bytes and the kernel takes 2047: shorten kernel_params",
			       ret->len);
	return 0;
}

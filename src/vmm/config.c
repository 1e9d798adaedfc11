/* SPDX-License-Identifier: Apache-2.0 */
/* The machine as a whole: CPUs and memory, kernel, what there is only one of. Lists of devices: config_devices.c. */
#include "vmm/config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/unix_socket.h"
#include "vmm/probe.h"

/* No mouse, no second keyboard controller, no modules: each of them costs time at boot. */
static const char default_cmdline[] = "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux "
				      "i8042.dumbkbd swiotlb=noforce";

void config_init(struct config *c)
{
	memset(c, 0, sizeof *c);
	body_clear(&document_table, &c->doc);
	c->vsock_fd = -1;
}

void config_release_vsock(struct config *c)
{
	if (c->vsock_fd < 0)
		return;
	fd_close(&c->vsock_fd);
	unlink(c->doc.vsock.uds_path);
}

void config_fini(struct config *c)
{
	config_release_vsock(c);
	body_clear(&document_table, &c->doc);
	body_clear(&serial_table, &c->serial);
}

int config_print(const struct config *c, struct buf *out)
{
	struct document shown = c->doc;

	shown.has_machine_config = shown.has_boot_source = true;
	return body_print(&document_table, &shown, out);
}

/* ---- CPUs and memory ---- */

static int refuse(struct err *e, const char *text)
{
	return err_set(e, ERR_CONFIG, EINVAL, "%s", text);
}

static int not_supported(struct err *e, const char *what)
{
	return err_set(e, ERR_CONFIG, ENOTSUP, "%s is not supported by this version.", what);
}

int config_update_machine(struct config *c, const struct machine *with, struct err *e)
{
	struct machine m = c->doc.machine_config;

	m.vcpu_count = with->has_vcpu_count ? with->vcpu_count : m.vcpu_count;
	m.mem_size_mib = with->has_mem_size_mib ? with->mem_size_mib : m.mem_size_mib;
	m.smt = with->has_smt ? with->smt : m.smt;
	m.track_dirty_pages = with->has_track_dirty_pages ? with->track_dirty_pages : m.track_dirty_pages;
	m.huge_pages = with->has_huge_pages ? with->huge_pages : m.huge_pages;

#if !defined(__x86_64__)
	if (m.smt)
		return refuse(e, "Enabling simultaneous multithreading is not supported on aarch64.");
#endif
	if (m.vcpu_count < 1 || m.vcpu_count > CONFIG_VCPUS_MAX || (m.smt && m.vcpu_count > 1 && m.vcpu_count % 2))
		return refuse(e, "The number of vCPUs must be greater than 0, less than 32 and must be 1 or an even "
				 "number if SMT is enabled.");
	if (m.mem_size_mib < 1 || (m.huge_pages != HUGE_PAGES_NONE && m.mem_size_mib % 2))
		return refuse(e, "The memory size (MiB) is either 0, or not a multiple of the configured page size.");
	if (c->doc.has_balloon && m.mem_size_mib < c->doc.balloon.amount_mib)
		return refuse(e, "The memory size (MiB) is smaller than the previously set balloon device target "
				 "size.");
	if (with->has_cpu_template && with->cpu_template != CPU_TEMPLATE_NONE)
		return not_supported(e, "cpu_template other than None");
	c->doc.machine_config = m;
	return 0;
}

/* ---- the kernel ---- */

static int check_cmdline(const char *text, struct err *e)
{
	for (const char *p = text; *p; p++)
		if (*p < ' ' || *p > '~')
			return refuse(e, "The kernel command line is invalid: string contains non-printable ASCII "
					 "character");
	if (strlen(text) >= CONFIG_CMDLINE_MAX)
		return refuse(e, "The kernel command line is invalid: inserting string would make command line too "
				 "long");
	return 0;
}

int config_set_boot_source(struct config *c, struct boot_source *b, struct err *e)
{
	char text[OS_ERROR_MAX];
	int r = probe_file(b->kernel_image_path, O_RDONLY);

	if (r < 0)
		return err_set(e, ERR_CONFIG, -r, "The kernel file cannot be opened: %s", os_error(-r, text));
	r = b->initrd_path ? probe_file(b->initrd_path, O_RDONLY) : 0;
	if (r < 0)
		return err_set(e, ERR_CONFIG, -r,
			       "The initrd file cannot be opened due to invalid path or invalid permissions. %s",
			       os_error(-r, text));
	r = b->boot_args ? check_cmdline(b->boot_args, e) : 0;
	if (r < 0)
		return r;
	body_clear(&boot_source_table, &c->doc.boot_source);
	c->doc.boot_source = *b;
	c->doc.has_boot_source = true;
	memset(b, 0, sizeof *b);
	return 0;
}

/* The root file system: a drive, or a pmem device by its number. */
static int add_root(const struct config *c, struct buf *out)
{
	const struct drive *d = body_list_at(&drive_table, &c->doc.drives, 0);

	if (d && d->is_root_device)
		return buf_printf(out, " root=%s%s %s", d->partuuid ? "PARTUUID=" : "/dev/vda",
				  d->partuuid ? d->partuuid : "", d->is_read_only ? "ro" : "rw");
	for (size_t i = 0; i < c->doc.pmem.len; i++) {
		const struct pmem *p = body_list_at(&pmem_table, &c->doc.pmem, i);

		if (p->root_device)
			return buf_printf(out, " root=/dev/pmem%zu %s", i, p->read_only ? "ro" : "rw");
	}
	return 0;
}

/* Where the arguments of init begin, which must stay the last ("a=b -- c"); the end if there are none. */
static const char *init_arguments(const char *text)
{
	const char *p = strstr(text, " -- ");

	return p ? p : text + strlen(text);
}

int config_cmdline(const struct config *c, bool pci, struct buf *out, struct err *e)
{
	const char *text = c->doc.boot_source.boot_args ? c->doc.boot_source.boot_args : default_cmdline;
	const char *init = init_arguments(text);
	int r = buf_append(out, text, (size_t)(init - text));

	if (r == 0 && !pci)
		r = buf_puts(out, out->len ? " pci=off" : "pci=off");
	if (r == 0)
		r = add_root(c, out);
	if (r == 0)
		r = buf_puts(out, init);
	if (r < 0)
		return err_sys(e, ENOMEM, "cannot build the kernel command line");
	if (out->len >= CONFIG_CMDLINE_MAX)
		return err_set(e, ERR_CONFIG, E2BIG,
			       "Invalid kernel command line: inserting string would make command line too long");
	return 0;
}

/* ---- what there is one of ---- */

int config_set_vsock(struct config *c, struct vsock *v, struct err *e)
{
	char text[OS_ERROR_MAX];
	int fd, r;

	if (v->guest_cid < 3)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "Cannot create vsock device: guest_cid is %llu, and less than 3 "
			       "is reserved",
			       (unsigned long long)v->guest_cid);
	/* The old one first: it may be at the same path. */
	config_release_vsock(c);
	c->doc.has_vsock = false;
	body_clear(&vsock_table, &c->doc.vsock);
	r = unix_listen(v->uds_path, 0700, &fd, NULL);
	if (r < 0)
		return err_set(e, ERR_CONFIG, -r,
			       "Cannot create backend for vsock device: Error binding to the host-side Unix socket: %s",
			       os_error(-r, text));
	c->vsock_fd = fd;
	c->doc.vsock = *v;
	c->doc.has_vsock = true;
	memset(v, 0, sizeof *v);
	free(take_ptr(c->doc.vsock.vsock_id)); /* deprecated, and never told back */
	return 0;
}

int config_set_entropy(struct config *c, const struct entropy *n, struct err *e)
{
	(void)e;
	c->doc.entropy = *n;
	c->doc.has_entropy = true;
	return 0;
}

int config_set_serial(struct config *c, struct serial *s, struct err *e)
{
	if (s->has_rate_limiter && bucket_limits(&s->rate_limiter))
		return not_supported(e, "A rate limiter of the serial device");
	body_clear(&serial_table, &c->serial);
	c->serial = *s;
	memset(s, 0, sizeof *s);
	return 0;
}

int config_set_balloon(struct config *c, const struct balloon *b, struct err *e)
{
	if (b->amount_mib > c->doc.machine_config.mem_size_mib)
		return refuse(e, "Amount of pages requested is too large.");
	if (b->free_page_hinting)
		return not_supported(e, "Error creating the balloon device: free_page_hinting");
	c->doc.balloon = *b;
	c->doc.has_balloon = true;
	return 0;
}

int config_set_memory_hotplug(struct config *c, const struct memory_hotplug *m, struct err *e)
{
	const unsigned long long block = m->block_size_mib, slot = m->slot_size_mib, total = m->total_size_mib;

	if (block < 2)
		return refuse(e, "Block size must not be lower than 2 MiB");
	if (block & (block - 1))
		return refuse(e, "Block size must be a power of 2");
	if (slot < 128)
		return refuse(e, "Slot size must not be lower than 128 MiB");
	if (slot % block)
		return err_set(e, ERR_CONFIG, EINVAL, "Slot size must be a multiple of block size (%llu MiB)", block);
	if (total < slot)
		return err_set(e, ERR_CONFIG, EINVAL, "Total size must not be lower than slot size (%llu MiB)", slot);
	if (total % slot)
		return err_set(e, ERR_CONFIG, EINVAL, "Total size must be a multiple of slot size (%llu MiB)", slot);
	c->doc.memory_hotplug = *m;
	c->doc.has_memory_hotplug = true;
	return 0;
}

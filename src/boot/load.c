/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/load.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int boot_file_init(struct boot_file *f, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "fstat");
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_CONFIG, EINVAL, "not a regular file");
	if (!st.st_size)
		return err_set(e, ERR_CONFIG, EINVAL, "the file is empty");
	*f = (struct boot_file){ .fd = fd, .size = (uint64_t)st.st_size };
	return 0;
}

static int ends_early(uint64_t at, struct err *e)
{
	return err_set(e, ERR_CONFIG, EINVAL, "the file ends too early, at byte %" PRIu64, at);
}

/* Is [offset, offset+len) in the file? Also keeps offsets within off_t. */
static int check_range(const struct boot_file *f, uint64_t offset, uint64_t len, struct err *e)
{
	if (offset <= f->size && len <= f->size - offset)
		return 0;
	return ends_early(f->size, e);
}

int boot_file_read(const struct boot_file *f, uint64_t offset, void *data, size_t len, struct err *e)
{
	int r = check_range(f, offset, len, e);
	char *at = data;

	while (r == 0 && len) {
		ssize_t n = pread(f->fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "read");
		if (n == 0)
			return ends_early(offset, e);
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return r;
}

int boot_file_load(const struct boot_file *f, uint64_t offset, struct guestmem *mem, gpa_t gpa, uint64_t len,
		   bool fresh, struct err *e)
{
	int r = check_range(f, offset, len, e);

	if (r < 0)
		return r;
	r = f->constant ? guestmem_map(mem, gpa, len, f->fd, offset, fresh)
			: guestmem_fill(mem, gpa, len, f->fd, offset, fresh);
	if (r == -EFAULT)
		return err_sys(e, EFAULT, "guest memory at 0x%" PRIx64, gpa);
	if (r == -ENODATA)
		return err_set(e, ERR_CONFIG, EINVAL, "the file became shorter while it was read");
	return r < 0 ? err_sys(e, -r, f->constant ? "map" : "read") : 0;
}

int boot_write(struct guestmem *mem, gpa_t gpa, const void *data, size_t len, struct err *e)
{
	int r = guestmem_write(mem, gpa, data, len);

	return r < 0 ? err_sys(e, -r, "guest memory at 0x%" PRIx64, gpa) : 0;
}

const struct boot_ram *boot_ram_find(const struct boot_config *c, gpa_t gpa, uint64_t len)
{
	for (size_t i = 0; i < c->n_ram; i++) {
		const struct boot_ram *ram = &c->ram[i];

		if (gpa >= ram->base && gpa - ram->base <= ram->size && len <= ram->size - (gpa - ram->base))
			return ram;
	}
	return NULL;
}

int boot_load_initrd(struct guestmem *mem, const struct boot_config *c, gpa_t low, gpa_t high, struct boot_entry *ret,
		     struct err *e)
{
	uint64_t at = 0, room = high > low ? high - low : 0;
	struct boot_file f;
	int r;

	ret->initrd = ret->initrd_size = 0;
	if (c->initrd_fd < 0)
		return 0;
	r = boot_file_init(&f, c->initrd_fd, e);
	if (r == 0 && f.size > room)
		r = err_set(e, ERR_CONFIG, EFBIG,
			    "its %" PRIu64 " KiB do not fit into the %" PRIu64
			    " KiB of memory beside the kernel; give the guest more memory",
			    f.size >> 10, room >> 10);
	if (r == 0) {
		at = (high - f.size) & ~(BOOT_PAGE - 1);
		if (at < low)
			r = err_set(e, ERR_CONFIG, EFBIG, "no room beside the kernel; give the guest more memory");
		else
			r = boot_file_load(&f, 0, mem, at, f.size, true, e);
	}
	if (r < 0) {
		err_wrap(e, "initrd %s", c->initrd_path);
		return r;
	}
	ret->initrd = at;
	ret->initrd_size = f.size;
	return 0;
}

int boot_check_cmdline(const struct boot_config *c, uint64_t max, struct err *e)
{
	size_t len = strlen(c->cmdline);

	if (len <= max)
		return 0;
	return err_set(e, ERR_CONFIG, EINVAL,
		       "the kernel command line has %zu bytes, and kernel %s takes at most %" PRIu64, len,
		       c->kernel_path, max);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/load.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define IOV_MAX_PIECES 8 /* regions that one read may touch; more are taken in several reads */

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

/* preadv(2) until all is there. iov is used up. */
static int read_all(const struct boot_file *f, uint64_t offset, struct iovec *iov, size_t n, struct err *e)
{
	while (n) {
		ssize_t r = preadv(f->fd, iov, (int)n, (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(e, errno, "read");
		if (r == 0)
			return err_set(e, ERR_CONFIG, EINVAL, "the file ends too early, at byte %" PRIu64, offset);
		offset += (uint64_t)r;
		while (n && (size_t)r >= iov->iov_len) {
			r -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n) {
			iov->iov_base = (char *)iov->iov_base + r;
			iov->iov_len -= (size_t)r;
		}
	}
	return 0;
}

/* Is [offset, offset+len) in the file? Also keeps offsets within off_t. */
static int check_range(const struct boot_file *f, uint64_t offset, uint64_t len, struct err *e)
{
	if (offset <= f->size && len <= f->size - offset)
		return 0;
	return err_set(e, ERR_CONFIG, EINVAL, "the file ends too early, at byte %" PRIu64, f->size);
}

int boot_file_read(const struct boot_file *f, uint64_t offset, void *data, size_t len, struct err *e)
{
	struct iovec iov = { data, len };
	int r = check_range(f, offset, len, e);

	return r < 0 || !len ? r : read_all(f, offset, &iov, 1, e);
}

int boot_file_load(const struct boot_file *f, uint64_t offset, struct guestmem *mem, gpa_t gpa, uint64_t len,
		   struct err *e)
{
	struct iovec iov[IOV_MAX_PIECES];
	ssize_t n;
	int r = check_range(f, offset, len, e);

	if (r < 0 || !len)
		return r;
	n = guestmem_iov(mem, gpa, len, iov, IOV_MAX_PIECES);
	if (n < 0)
		return err_sys(e, (int)-n, "guest memory at 0x%" PRIx64, gpa);
	r = read_all(f, offset, iov, (size_t)n, e);
	if (r == 0)
		guestmem_mark_dirty(mem, gpa, len);
	return r;
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
			r = boot_file_load(&f, 0, mem, at, f.size, e);
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

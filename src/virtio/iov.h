/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-wise access to scattered buffers: device headers may lie across any number of descriptors (VirtIO 1.2 §2.7.4).
 */
#pragma once

#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

/* Copy len bytes at offset off out of, or into, iov. Returns how many there were. */
static inline size_t iov_copy(const struct iovec *iov, size_t n, size_t off, void *data, size_t len, int into)
{
	size_t done = 0;

	for (size_t i = 0; i < n && done < len; i++) {
		size_t part;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - off;
		if (part > len - done)
			part = len - done;
		if (into)
			memcpy((char *)iov[i].iov_base + off, (char *)data + done, part);
		else
			memcpy((char *)data + done, (char *)iov[i].iov_base + off, part);
		done += part;
		off = 0;
	}
	return done;
}

static inline size_t iov_read(const struct iovec *iov, size_t n, size_t off, void *dst, size_t len)
{
	size_t done = iov_copy(iov, n, off, dst, len, 0);

	/* The source may be guest memory: the compiler may not fetch it again. */
	__asm__ volatile("" ::: "memory");
	return done;
}

static inline size_t iov_write(const struct iovec *iov, size_t n, size_t off, const void *src, size_t len)
{
	return iov_copy(iov, n, off, (void *)(size_t)src, len, 1);
}

/* Describe at most len bytes from offset off of iov in at most max entries of out. Returns the number of entries. */
static inline size_t iov_slice(const struct iovec *iov, size_t n, size_t off, size_t len, struct iovec *out, size_t max)
{
	size_t used = 0;

	for (size_t i = 0; i < n && len && used < max; i++) {
		size_t part;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - off;
		if (part > len)
			part = len;
		out[used++] = (struct iovec){ (char *)iov[i].iov_base + off, part };
		len -= part;
		off = 0;
	}
	return used;
}

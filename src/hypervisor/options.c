/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void option_add(struct strv *args, int *r, const char *option, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b = { 0 };
	va_list ap;

	if (*r < 0)
		return;
	va_start(ap, fmt);
	*r = buf_vprintf(&b, fmt, ap);
	va_end(ap);
	if (*r == 0)
		*r = strv_add(args, option);
	if (*r == 0)
		*r = strv_add_take(args, buf_take(&b));
}

void option_add_all(struct strv *args, const struct strv *more, int *r)
{
	for (size_t i = 0; i < more->len && *r == 0; i++)
		*r = strv_add(args, more->v[i]);
}

int slot_take(uint32_t *map, unsigned first)
{
	for (unsigned slot = first; slot < SLOTS_MAX - 1; slot++)
		if (!(*map & (UINT32_C(1) << slot))) {
			*map |= UINT32_C(1) << slot;
			return (int)slot;
		}
	return -ENOSPC;
}

void net_choose_mac(const struct vm_config *c, const char *id, struct vm_net *net)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a: the same VM and device give the same address */

	if (net->mac[0])
		return;
	for (const char *p = c->id; *p; p++)
		h = (h ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
	for (const char *p = id; *p; p++)
		h = (h ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
	snprintf(net->mac, sizeof net->mac, "02:%02x:%02x:%02x:%02x:%02x", (unsigned)(h >> 8) & 0xff,
		 (unsigned)(h >> 16) & 0xff, (unsigned)(h >> 24) & 0xff, (unsigned)(h >> 32) & 0xff,
		 (unsigned)(h >> 40) & 0xff);
}

int device_check_id(const struct vm_device *d, struct err *e)
{
	if (str_empty(d->id) || strspn(d->id, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(d->id) ||
	    strlen(d->id) > 32)
		return err_set(e, ERR_CONFIG, EINVAL, "device id \"%s\": use 1 to 32 of a-z, 0-9 and -",
			       d->id ? d->id : "");
	return 0;
}

int device_check_tag(const struct vm_device *d, struct err *e)
{
	/* VirtIO 1.2 §5.11.4: 36 bytes; virtio-9p takes 31. */
	size_t max = d->kind == VM_DEVICE_9P ? 31 : 36;

	if (str_empty(d->u.fs.tag) || strlen(d->u.fs.tag) > max || strpbrk(d->u.fs.tag, ", "))
		return err_set(e, ERR_CONFIG, EINVAL,
			       "shared directory %s: the tag \"%s\" must have 1 to %zu characters", d->id,
			       d->u.fs.tag ? d->u.fs.tag : "", max);
	return 0;
}

int device_check_serial(const struct vm_device *d, struct err *e)
{
	if (!str_empty(d->u.block.serial) &&
	    (strlen(d->u.block.serial) > 20 || strpbrk(d->u.block.serial, ", \t\n\"\\")))
		return err_set(e, ERR_CONFIG, EINVAL,
			       "disk %s: serial \"%s\" has more than 20 or unsuitable characters", d->id,
			       d->u.block.serial);
	return 0;
}

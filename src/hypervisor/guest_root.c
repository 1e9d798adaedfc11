/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/guest_root.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

int guest_root_params(const struct vm_config *c, bool pmem, bool dax, struct strv *ret, struct err *e)
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

// SPDX-License-Identifier: Apache-2.0
#include "agent/device.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fd.h"
#include "base/strv.h"

/* The first entry of a directory whose name begins with prefix. -EAGAIN: none, or no such directory. */
static int first_entry(const char *dir, const char *prefix, char *out, size_t size)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *de;

	while (d && (de = readdir(d)))
		if (de->d_name[0] != '.' && str_after(de->d_name, prefix) && strlen(de->d_name) < size) {
			strcpy(out, de->d_name);
			return 0;
		}
	return -EAGAIN;
}

/* "SS" or "SS.F": slot 0..1f, function 0..7. Advances over a following "/". */
static int take_slot(const char **p, unsigned int *slot, unsigned int *function)
{
	char *end;

	if (!isxdigit((unsigned char)**p))
		return -EINVAL;
	*slot = (unsigned int)strtoul(*p, &end, 16);
	*function = 0;
	if (*end == '.') {
		if (!isxdigit((unsigned char)end[1]))
			return -EINVAL;
		*function = (unsigned int)strtoul(end + 1, &end, 16);
	}
	if (*slot > 0x1f || *function > 7 || (*end != '\0' && *end != '/') || (*end == '/' && end[1] == '\0'))
		return -EINVAL;
	*p = *end == '/' ? end + 1 : end;
	return 0;
}

int device_pci_address(const char *sys, const char *pci_path, char out[16])
{
	char bus[8] = "0000:00", path[256], address[16];

	/* A bridge on each of the 256 buses would still be shorter. */
	if (strlen(pci_path) > 255 * 5)
		return -EINVAL;
	for (const char *p = pci_path;;) {
		unsigned int slot, function;
		struct stat st;

		if (take_slot(&p, &slot, &function) < 0)
			return -EINVAL;
		snprintf(address, sizeof address, "%s:%02x.%x", bus, slot, function);
		snprintf(path, sizeof path, "%s/bus/pci/devices/%s", sys, address);
		if (stat(path, &st) < 0)
			return -EAGAIN;
		if (*p == '\0')
			break;
		snprintf(path, sizeof path, "%s/bus/pci/devices/%s/pci_bus", sys, address);
		if (first_entry(path, "", bus, sizeof bus) < 0)
			return -EAGAIN;
	}
	strcpy(out, address);
	return 0;
}

int device_pci_block(const char *sys, const char *address, char *out, size_t size)
{
	char path[300], sub[64], name[64];

	snprintf(path, sizeof path, "%s/bus/pci/devices/%s", sys, address);
	if (first_entry(path, "virtio", sub, sizeof sub) == 0) {
		snprintf(path, sizeof path, "%s/bus/pci/devices/%s/%s/block", sys, address, sub);
		return first_entry(path, "", out, size);
	}
	snprintf(path, sizeof path, "%s/bus/pci/devices/%s/nvme", sys, address);
	if (first_entry(path, "nvme", sub, sizeof sub) < 0)
		return -EAGAIN;
	snprintf(path, sizeof path, "%s/bus/pci/devices/%s/nvme/%s", sys, address, sub);
	if (first_entry(path, sub, name, sizeof name) < 0 || strlen(name) >= size)
		return -EAGAIN;
	strcpy(out, name);
	return 0;
}

int device_pci_net(const char *sys, const char *pci_path, char *out, size_t size)
{
	char address[16], path[300], sub[64];
	int r = device_pci_address(sys, pci_path, address);

	if (r < 0)
		return r;
	snprintf(path, sizeof path, "%s/bus/pci/devices/%s/net", sys, address);
	if (first_entry(path, "", out, size) == 0)
		return 0;
	snprintf(path, sizeof path, "%s/bus/pci/devices/%s", sys, address);
	if (first_entry(path, "virtio", sub, sizeof sub) < 0)
		return -EAGAIN;
	snprintf(path, sizeof path, "%s/bus/pci/devices/%s/%s/net", sys, address, sub);
	return first_entry(path, "", out, size);
}

/* Ask each SCSI host to look at this target; it may have none, or may know it already. */
static void scsi_scan(const char *sys, uint64_t id, uint64_t lun)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *de;
	char path[400], text[64];

	snprintf(path, sizeof path, "%s/class/scsi_host", sys);
	d = opendir(path);
	snprintf(text, sizeof text, "0 %llu %llu", (unsigned long long)id, (unsigned long long)lun);
	while (d && (de = readdir(d)))
		if (str_after(de->d_name, "host")) {
			snprintf(path, sizeof path, "%s/class/scsi_host/%s/scan", sys, de->d_name);
			(void)file_write(path, text);
		}
}

static int scsi_find(const char *sys, const char *suffix, char *out, size_t size)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *de;
	char path[400];

	snprintf(path, sizeof path, "%s/class/scsi_device", sys);
	d = opendir(path);
	while (d && (de = readdir(d)))
		if (str_endswith(de->d_name, suffix)) { /* HOST:CHANNEL:ID:LUN */
			snprintf(path, sizeof path, "%s/class/scsi_device/%s/device/block", sys, de->d_name);
			if (first_entry(path, "", out, size) == 0)
				return 0;
		}
	return -EAGAIN;
}

int device_scsi_block(const char *sys, const char *id_lun, char *out, size_t size)
{
	const char *colon = strchr(id_lun, ':');
	char id[16], suffix[48];
	uint64_t i, l;

	if (!colon || (size_t)(colon - id_lun) >= sizeof id)
		return -EINVAL;
	memcpy(id, id_lun, (size_t)(colon - id_lun));
	id[colon - id_lun] = '\0';
	if (str_to_u64(id, 10, &i) < 0 || str_to_u64(colon + 1, 10, &l) < 0 || i > 0xffff || l > 0xffff)
		return -EINVAL;
	snprintf(suffix, sizeof suffix, ":%llu:%llu", (unsigned long long)i, (unsigned long long)l);
	if (scsi_find(sys, suffix, out, size) == 0)
		return 0;
	scsi_scan(sys, i, l);
	return scsi_find(sys, suffix, out, size);
}

/* The numbers from sysfs, so that a node that devtmpfs has not made yet is not needed for them. */
static int fill_block(const char *sys, const char *name, struct device_node *ret)
{
	_cleanup_free_ char *text = NULL;
	struct device_node n = { .block = true };
	char path[400];

	snprintf(path, sizeof path, "%s/class/block/%s/dev", sys, name);
	if (file_read(path, 64, &text, NULL) < 0 || sscanf(text, "%u:%u", &n.major, &n.minor) != 2)
		return -EAGAIN;
	if (snprintf(n.path, sizeof n.path, "/dev/%s", name) >= (int)sizeof n.path)
		return -ENAMETOOLONG;
	*ret = n;
	return 0;
}

static int resolve_path(const char *root, const char *path, struct device_node *ret)
{
	struct device_node n = { 0 };
	char full[PATH_MAX];
	struct stat st;

	if (strlen(path) >= sizeof n.path || strstr(path, ".."))
		return -EINVAL;
	if (snprintf(full, sizeof full, "%s%s", root, path) >= (int)sizeof full)
		return -ENAMETOOLONG;
	if (stat(full, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ? -EAGAIN : -errno;
	if (!S_ISBLK(st.st_mode) && !S_ISCHR(st.st_mode))
		return -EINVAL;
	strcpy(n.path, path);
	n.block = S_ISBLK(st.st_mode);
	n.major = major(st.st_rdev);
	n.minor = minor(st.st_rdev);
	*ret = n;
	return 0;
}

/*
 * The kernel shows a disk in sysfs and in /dev a moment before it can be opened (ENXIO until then), and tells of it
 * after that.
 */
static int check_open(const char *root, const struct device_node *node)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];

	if (snprintf(path, sizeof path, "%s%s", root, node->path) >= (int)sizeof path)
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 && (errno == ENXIO || errno == ENOENT) ? -EAGAIN : 0;
}

int device_resolve(const char *root, const char *kind, const char *source, struct device_node *ret, struct err *e)
{
	char sys[PATH_MAX], address[16], name[64];
	int r;

	if (snprintf(sys, sizeof sys, "%s/sys", root) >= (int)sizeof sys)
		return err_sys(e, ENAMETOOLONG, "%s", root);
	if (str_after(source, "/dev/") &&
	    (str_eq(kind, "blk") || str_eq(kind, "mmioblk") || str_eq(kind, "nvdimm") || str_eq(kind, "scsi"))) {
		r = resolve_path(root, source, ret);
	} else if (str_eq(kind, "blk")) {
		r = device_pci_address(sys, source, address);
		if (r == 0)
			r = device_pci_block(sys, address, name, sizeof name);
		if (r == 0)
			r = fill_block(sys, name, ret);
	} else if (str_eq(kind, "scsi")) {
		r = device_scsi_block(sys, source, name, sizeof name);
		if (r == 0)
			r = fill_block(sys, name, ret);
	} else if (str_eq(kind, "vfio-pci-gk")) {
		*ret = (struct device_node){ 0 };
		r = device_pci_address(sys, source, address);
	} else if (str_eq(kind, "mmioblk") || str_eq(kind, "nvdimm")) {
		r = -EINVAL;
	} else {
		return err_set(e, ERR_PROTOCOL, ENOSYS, "device type \"%.64s\" is not supported by this agent", kind);
	}
	if (r == 0 && ret->block)
		r = check_open(root, ret);
	if (r == -EAGAIN)
		return err_set(e, ERR_GUEST, EAGAIN, "%s device \"%.128s\" is not there", kind, source);
	if (r < 0)
		return err_set(e, ERR_PROTOCOL, -r, "\"%.128s\" does not name a %s device", source, kind);
	return 0;
}

static void rewrite_rules(Grpc__LinuxResources *res, int64_t old_major, int64_t old_minor, const struct device_node *n,
			  bool *done)
{
	for (size_t i = 0; res && i < res->n_devices; i++) {
		Grpc__LinuxDeviceCgroup *rule = res->devices[i];

		/* A rule is rewritten once: the new numbers of one device may be the old ones of the next. */
		if (done[i] || rule->major != old_major || rule->minor != old_minor || str_eq(rule->type, "a") ||
		    (str_eq(rule->type, "b") && !n->block) || (str_eq(rule->type, "c") && n->block))
			continue;
		rule->major = n->major;
		rule->minor = n->minor;
		done[i] = true;
	}
}

int device_rewrite_spec(Grpc__Spec *spec, Grpc__Device *const *devices, const struct device_node *nodes, size_t n,
			struct err *e)
{
	Grpc__LinuxResources *res = spec->linux ? spec->linux->resources : NULL;
	_cleanup_free_ bool *done = calloc(res && res->n_devices ? res->n_devices : 1, sizeof *done);

	if (!done)
		return err_sys(e, ENOMEM, "cannot rewrite the devices of the container");
	for (size_t i = 0; i < n; i++) {
		Grpc__LinuxDevice *found = NULL;

		if (str_empty(devices[i]->container_path) || !*nodes[i].path)
			continue;
		for (size_t j = 0; spec->linux && j < spec->linux->n_devices; j++)
			if (str_eq(spec->linux->devices[j]->path, devices[i]->container_path))
				found = spec->linux->devices[j];
		if (!found)
			return err_set(e, ERR_PROTOCOL, EINVAL, "device %.128s is not among the container's devices",
				       devices[i]->container_path);
		rewrite_rules(res, found->major, found->minor, &nodes[i], done);
		found->major = nodes[i].major;
		found->minor = nodes[i].minor;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Drives, network interfaces and pmem devices, and their rate limits. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "vmm/config.h"
#include "vmm/probe.h"

static int refuse(struct err *e, const char *text)
{
	return err_set(e, ERR_CONFIG, EINVAL, "%s", text);
}

/* The API has looked at the letters already; a configuration file's ids come here first. */
static int check_id(const char *id, struct err *e)
{
	if (!*id)
		return refuse(e, "The ID cannot be empty.");
	if (strlen(id) > CONFIG_ID_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "The ID is longer than %d characters.", CONFIG_ID_MAX);
	for (; *id; id++)
		if (!isalnum((unsigned char)*id) && *id != '_')
			return refuse(e, "API Resource IDs can only contain alphanumeric characters and underscores.");
	return 0;
}

/* ---- lists ---- */

/* All three begin with the id: see the structures. */
static void *find(const struct body_table *table, const struct body_list *list, const char *id)
{
	for (size_t i = 0; i < list->len; i++) {
		void *item = body_list_at(table, list, i);

		if (!strcmp(*(char **)item, id))
			return item;
	}
	return NULL;
}

struct drive *config_drive(const struct config *c, const char *id)
{
	return find(&drive_table, &c->doc.drives, id);
}

struct network_interface *config_network_interface(const struct config *c, const char *id)
{
	return find(&network_interface_table, &c->doc.network_interfaces, id);
}

struct pmem *config_pmem(const struct config *c, const char *id)
{
	return find(&pmem_table, &c->doc.pmem, id);
}

void config_remove(const struct body_table *table, struct body_list *list, const void *item)
{
	body_list_remove(table, list, (size_t)((const char *)item - (const char *)list->items) / table->size);
}

/* Move *item into the place of the one with the same id, or behind the last one. */
static int put(const struct body_table *table, struct body_list *list, void *item, struct err *e)
{
	void *place = find(table, list, *(char **)item);

	if (place)
		body_clear(table, place);
	else
		place = body_list_add(table, list);
	if (!place)
		return err_set(e, ERR_LIMIT, ENOSPC, "There are %zu devices of this kind already.", list->len);
	memcpy(place, item, table->size);
	memset(item, 0, table->size);
	return 0;
}

/* ---- drives ---- */

static int check_drive(struct drive *d, struct err *e)
{
	char text[OS_ERROR_MAX];
	int r = check_id(d->drive_id, e);

	if (r < 0)
		return r;
	if (d->socket && !d->path_on_host)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "Unable to create the virtio block device: A vhost-user drive is not supported by this "
			       "version.");
	if (!d->path_on_host || d->socket)
		return refuse(e, "Unable to create the virtio block device: Invalid block config.");
	r = probe_file(d->path_on_host, d->is_read_only ? O_RDONLY : O_RDWR);
	if (r < 0)
		return err_set(e, ERR_CONFIG, -r,
			       "Unable to create the virtio block device: Virtio backend error: Error manipulating the "
			       "backing file: %s %s",
			       os_error(-r, text), d->path_on_host);
	return 0;
}

/* The root drive is the first of the list: so it is /dev/vda. */
static void root_first(struct config *c)
{
	struct drive *first = c->doc.drives.items;

	for (size_t i = 1; i < c->doc.drives.len; i++)
		if (first[i].is_root_device) {
			struct drive d = first[0];

			first[0] = first[i];
			first[i] = d;
			return;
		}
}

static bool has_root_pmem(const struct config *c)
{
	const struct pmem *p = c->doc.pmem.items;

	for (size_t i = 0; i < c->doc.pmem.len; i++)
		if (p[i].root_device)
			return true;
	return false;
}

/* A root drive that comes later goes in front of the others; they keep their order. */
static void new_root_to_front(struct config *c)
{
	struct drive *first = c->doc.drives.items, d = first[c->doc.drives.len - 1];

	memmove(first + 1, first, (c->doc.drives.len - 1) * sizeof *first);
	first[0] = d;
}

int config_put_drive(struct config *c, struct drive *d, struct err *e)
{
	const struct drive *first = body_list_at(&drive_table, &c->doc.drives, 0);
	bool is_new = !config_drive(c, d->drive_id), root = d->is_root_device;
	int r;

	if (root && has_root_pmem(c))
		return refuse(e,
			      "Attempt to add block as a root device while the root device defined as a pmem device");
	if (root && first && first->is_root_device && strcmp(first->drive_id, d->drive_id))
		return refuse(e, "A root block device already exists!");
	r = check_drive(d, e);
	if (r < 0)
		return r;
	d->has_is_read_only = d->has_io_engine = true; /* told back with their defaults */
	r = put(&drive_table, &c->doc.drives, d, e);
	if (r < 0 || !root)
		return r;
	if (is_new)
		new_root_to_front(c);
	else
		root_first(c);
	return 0;
}

/* ---- network interfaces ---- */

int config_put_network_interface(struct config *c, struct network_interface *n, struct err *e)
{
	const struct network_interface *other = c->doc.network_interfaces.items;
	int r = check_id(n->iface_id, e);

	if (r < 0)
		return r;
	for (char *p = n->guest_mac; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	for (size_t i = 0; n->guest_mac && i < c->doc.network_interfaces.len; i++)
		if (other[i].guest_mac && !strcmp(other[i].guest_mac, n->guest_mac) &&
		    strcmp(other[i].iface_id, n->iface_id))
			return err_set(e, ERR_CONFIG, EINVAL, "The MAC address is already in use: %s", n->guest_mac);
	if (n->has_mtu && n->mtu < 68)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "Could not create the network device: MTU %llu is out of range [68, 65535]",
			       (unsigned long long)n->mtu);
	r = probe_tap(n->host_dev_name, e);
	if (r < 0) {
		err_wrap(e, "Could not create the network device: Open tap device failed");
		return r;
	}
	return put(&network_interface_table, &c->doc.network_interfaces, n, e);
}

/* ---- pmem ---- */

int config_put_pmem(struct config *c, struct pmem *p, struct err *e)
{
	const struct drive *first = body_list_at(&drive_table, &c->doc.drives, 0);
	const struct pmem *old = config_pmem(c, p->id);
	int r = check_id(p->id, e);

	if (r < 0)
		return r;
	if (p->root_device && first && first->is_root_device)
		return refuse(e,
			      "Attempt to add pmem as a root device while the root device defined as a block device");
	if (p->root_device && has_root_pmem(c) && !(old && old->root_device))
		return refuse(e, "A root pmem device already exist");
	return put(&pmem_table, &c->doc.pmem, p, e);
}

/* ---- rate limits ---- */

bool bucket_limits(const struct bucket *b)
{
	return b->size && b->refill_time;
}

void limiter_update(struct limiter *l, bool *has, const struct limiter *with)
{
	if (with->has_bandwidth) {
		l->bandwidth = with->bandwidth;
		l->has_bandwidth = bucket_limits(&with->bandwidth);
	}
	if (with->has_ops) {
		l->ops = with->ops;
		l->has_ops = bucket_limits(&with->ops);
	}
	*has = l->has_bandwidth || l->has_ops;
}

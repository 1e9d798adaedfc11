/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of the microVM as requests and the configuration file build it up, before it is started and, for
 * what may change then, afterwards.
 *
 * The functions that set something check it, also against the rest of the configuration and against the host, and move
 * it in: on success their argument is emptied, on failure nothing has changed and e has the sentence that clients know,
 * without the class in front ("Drive config error: "), which the caller adds.
 */
#pragma once

#include "vmm/resources.h"

#define CONFIG_VCPUS_MAX   32
#define CONFIG_ID_MAX      57   /* with what build.c puts in front, a device id of the library */
#define CONFIG_CMDLINE_MAX 2048 /* bytes, the NUL included */

struct config {
	struct document doc;
	struct serial serial;
	int vsock_fd; /* holds the path of the socket until the VM takes it; -1: none */
};

void config_init(struct config *c);
void config_fini(struct config *c);

/* Change the members that `with` has. */
int config_update_machine(struct config *c, const struct machine *with, struct err *e);
int config_set_boot_source(struct config *c, struct boot_source *b, struct err *e);

/* Add, or replace the one of the same id. */
int config_put_drive(struct config *c, struct drive *d, struct err *e);
int config_put_network_interface(struct config *c, struct network_interface *n, struct err *e);
int config_put_pmem(struct config *c, struct pmem *p, struct err *e);
/* NULL: there is none of this id. */
struct drive *config_drive(const struct config *c, const char *id);
struct network_interface *config_network_interface(const struct config *c, const char *id);
struct pmem *config_pmem(const struct config *c, const char *id);
/* Forget the item that one of the three above returned. */
void config_remove(const struct body_table *table, struct body_list *list, const void *item);

int config_set_vsock(struct config *c, struct vsock *v, struct err *e);
int config_set_entropy(struct config *c, const struct entropy *n, struct err *e);
int config_set_serial(struct config *c, struct serial *s, struct err *e);
int config_set_balloon(struct config *c, const struct balloon *b, struct err *e);
int config_set_memory_hotplug(struct config *c, const struct memory_hotplug *m, struct err *e);

/* Is it a limit at all? Size or time of zero means none. */
bool bucket_limits(const struct bucket *b);
/* Overwrite the buckets that `with` has. *has: whether there is a limit afterwards. */
void limiter_update(struct limiter *l, bool *has, const struct limiter *with);

/* Let go of the vsock path: the VM listens there from now on. */
void config_release_vsock(struct config *c);

/* All of it as the API tells it. 0 or -ENOMEM. */
int config_print(const struct config *c, struct buf *out);

/* The kernel's command line: what was asked for, or the default, and what the machine needs. 0, -E2BIG, -ENOMEM. */
int config_cmdline(const struct config *c, bool pci, struct buf *out, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* See resources.h. */
#include "agent/resources.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/strv.h"
#include "sys/cgroup_units.h"

static int set_number(struct cgroup *cg, const char *controller, const char *file, int64_t value, struct err *e)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	return cgroup_set(cg, controller, file, value < 0 ? "max" : text, e);
}

static int apply_memory(struct cgroup *cg, const Grpc__LinuxMemory *m, struct err *e)
{
	int64_t swap = 0;
	int r;

	if (!m)
		return 0;
	r = cgroup_swap(m->swap, m->limit, &swap, e);
	/* Memory + swap = memory means no swap at all. On a kernel without swap accounting there is none to limit. */
	if (r == 0 && m->swap && (cgroup_has(cg, "memory.swap.max") || swap > 0))
		r = set_number(cg, "memory", "memory.swap.max", swap, e);
	if (r == 0 && m->limit)
		r = set_number(cg, "memory", "memory.max", m->limit, e);
	if (r == 0 && m->reservation)
		r = set_number(cg, "memory", "memory.low", m->reservation, e);
	if (m->kernel > 0 || m->kerneltcp > 0)
		log_warn("kernel memory limits do not exist in cgroup v2 and are ignored");
	return r;
}

static int apply_cpu(struct cgroup *cg, const Grpc__LinuxCPU *c, struct err *e)
{
	uint64_t weight, period;
	char text[64];
	int r = 0;

	if (!c)
		return 0;
	weight = cgroup_cpu_weight(c->shares);
	if (weight)
		r = set_number(cg, "cpu", "cpu.weight", (int64_t)weight, e);
	if (r == 0 && (c->quota || c->period)) {
		period = c->period ? c->period : 100000;
		if (c->quota > 0)
			snprintf(text, sizeof(text), "%" PRId64 " %" PRIu64, c->quota, period);
		else
			snprintf(text, sizeof(text), "max %" PRIu64, period);
		r = cgroup_set(cg, "cpu", "cpu.max", text, e);
	}
	if (r == 0 && !str_empty(c->cpus))
		r = cgroup_set(cg, "cpuset", "cpuset.cpus", c->cpus, e);
	if (r == 0 && !str_empty(c->mems))
		r = cgroup_set(cg, "cpuset", "cpuset.mems", c->mems, e);
	if (c->realtimeruntime || c->realtimeperiod)
		log_warn("realtime CPU limits do not exist in cgroup v2 and are ignored");
	return r;
}

static int apply_throttle(struct cgroup *cg, const char *key, Grpc__LinuxThrottleDevice *const *d, size_t n,
			  struct err *e)
{
	char text[96];
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		if (d[i]->rate)
			snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %s=%" PRIu64, d[i]->major, d[i]->minor,
				 key, d[i]->rate);
		else
			snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %s=max", d[i]->major, d[i]->minor, key);
		r = cgroup_set(cg, "io", "io.max", text, e);
	}
	return r;
}

static int apply_io(struct cgroup *cg, const Grpc__LinuxBlockIO *b, struct err *e)
{
	bool bfq = cgroup_has(cg, "io.bfq.weight");
	const char *file = bfq ? "io.bfq.weight" : "io.weight";
	char text[96];
	int r = 0;

	if (!b)
		return 0;
	if (b->weight)
		r = set_number(cg, "io", file, bfq ? b->weight : (int64_t)cgroup_io_weight(b->weight), e);
	for (size_t i = 0; i < b->n_weightdevice && r == 0; i++) {
		const Grpc__LinuxWeightDevice *d = b->weightdevice[i];

		snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %" PRIu64, d->major, d->minor,
			 bfq ? d->weight : cgroup_io_weight(d->weight));
		r = cgroup_set(cg, "io", file, text, e);
	}
	if (r == 0)
		r = apply_throttle(cg, "rbps", b->throttlereadbpsdevice, b->n_throttlereadbpsdevice, e);
	if (r == 0)
		r = apply_throttle(cg, "wbps", b->throttlewritebpsdevice, b->n_throttlewritebpsdevice, e);
	if (r == 0)
		r = apply_throttle(cg, "riops", b->throttlereadiopsdevice, b->n_throttlereadiopsdevice, e);
	if (r == 0)
		r = apply_throttle(cg, "wiops", b->throttlewriteiopsdevice, b->n_throttlewriteiopsdevice, e);
	return r;
}

static int apply_hugetlb(struct cgroup *cg, Grpc__LinuxHugepageLimit *const *limits, size_t n, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		char file[64], text[24];

		/* The page size becomes part of a file name. */
		if (str_empty(limits[i]->pagesize) || strpbrk(limits[i]->pagesize, "/.") ||
		    strlen(limits[i]->pagesize) > 16)
			return err_set(e, ERR_CONFIG, EINVAL, "huge page size \"%s\"", limits[i]->pagesize);
		snprintf(text, sizeof(text), "%" PRIu64, limits[i]->limit);
		snprintf(file, sizeof(file), "hugetlb.%s.rsvd.max", limits[i]->pagesize);
		if (cgroup_has(cg, file))
			r = cgroup_set(cg, "hugetlb", file, text, e);
		snprintf(file, sizeof(file), "hugetlb.%s.max", limits[i]->pagesize);
		if (r == 0)
			r = cgroup_set(cg, "hugetlb", file, text, e);
	}
	return r;
}

/* What every container may use (runc's list): making nodes is harmless where opening them is not allowed. */
static const struct cgroup_device_rule allowed[] = {
	{ true, 'c', -1, -1, CGROUP_DEVICE_MKNOD },
	{ true, 'b', -1, -1, CGROUP_DEVICE_MKNOD },
	{ true, 'c', 1, 3, 7 },
	{ true, 'c', 1, 5, 7 },
	{ true, 'c', 1, 7, 7 },
	{ true, 'c', 1, 8, 7 },
	{ true, 'c', 1, 9, 7 },
	{ true, 'c', 5, 0, 7 },
	{ true, 'c', 5, 1, 7 },
	{ true, 'c', 5, 2, 7 },
	{ true, 'c', 136, -1, 7 },
};
#define N_ALLOWED (sizeof(allowed) / sizeof(allowed[0]))

static int rule_from_spec(const Grpc__LinuxDeviceCgroup *d, struct cgroup_device_rule *ret, struct err *e)
{
	const char *type = str_empty(d->type) ? "a" : d->type;

	if (!strchr("abc", type[0]) || type[1])
		return err_set(e, ERR_CONFIG, EINVAL, "device rule: type \"%s\" is not known", d->type);
	*ret = (struct cgroup_device_rule){ .allow = d->allow, .type = type[0], .major = d->major, .minor = d->minor };
	/* "Any" is -1, or 0 where the sender had no number at all; no device has major 0. "a" means all devices. */
	if (d->major <= 0 || type[0] == 'a') {
		ret->major = -1;
		if (d->minor <= 0 || type[0] == 'a')
			ret->minor = -1;
	}
	for (const char *p = d->access; *p; p++) {
		if (!strchr("rwm", *p))
			return err_set(e, ERR_CONFIG, EINVAL, "device rule: access \"%s\" is not known", d->access);
		ret->access |= *p == 'r' ? CGROUP_DEVICE_READ : *p == 'w' ? CGROUP_DEVICE_WRITE : CGROUP_DEVICE_MKNOD;
	}
	if (!ret->access)
		ret->access = 7;
	return 0;
}

/* Whether a rule of the spec speaks of this very device. */
static bool named(const struct cgroup_device_rule *rules, size_t n, const struct cgroup_device_rule *device)
{
	for (size_t i = 0; i < n; i++)
		if (rules[i].type == device->type && rules[i].major == device->major && rules[i].minor == device->minor)
			return true;
	return false;
}

int resources_device_rules(const Grpc__LinuxResources *res, const Grpc__Linux *l, struct cgroup_device_rule **ret,
			   size_t *ret_n, struct err *e)
{
	size_t n_devices = l ? l->n_devices : 0, n = 0;
	_cleanup_free_ struct cgroup_device_rule *rules =
		calloc(res->n_devices + N_ALLOWED + n_devices, sizeof(*rules));
	int r = 0;

	if (!rules)
		return err_sys(e, ENOMEM, "device rules");
	for (size_t i = 0; i < res->n_devices && r == 0; i++)
		r = rule_from_spec(res->devices[i], &rules[n++], e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < N_ALLOWED; i++)
		rules[n++] = allowed[i];
	for (size_t i = 0; i < n_devices; i++) {
		const Grpc__LinuxDevice *d = l->devices[i];
		struct cgroup_device_rule whole = { true, str_eq(d->type, "b") ? 'b' : 'c', d->major, d->minor, 7 };

		if (!str_eq(d->type, "p") && !named(rules, res->n_devices, &whole))
			rules[n++] = whole;
	}
	*ret = take_ptr(rules);
	*ret_n = n;
	return 0;
}

/* A privileged container's last rule: what comes behind it only allows. */
static bool allows_all(const Grpc__LinuxDeviceCgroup *d)
{
	struct cgroup_device_rule rule;
	struct err ignored = { 0 };

	return rule_from_spec(d, &rule, &ignored) == 0 && rule.allow && rule.type == 'a' && rule.access == 7;
}

/*
 * Without any rule in the spec (Kata's runtime sends none) nothing is restricted: all devices are the pod's own virtual
 * machine's.
 */
static int apply_devices(struct cgroup *cg, const Grpc__LinuxResources *res, const Grpc__Linux *l, struct err *e)
{
	_cleanup_free_ struct cgroup_device_rule *rules = NULL;
	size_t n;
	int r;

	if (!res->n_devices || allows_all(res->devices[res->n_devices - 1]))
		return 0;
	r = resources_device_rules(res, l, &rules, &n, e);
	return r < 0 ? r : cgroup_set_devices(cg, rules, n, e);
}

int resources_apply(struct cgroup *cg, const Grpc__LinuxResources *res, const Grpc__Linux *l, struct err *e)
{
	int r;

	if (!res)
		return 0;
	r = apply_memory(cg, res->memory, e);
	if (r == 0)
		r = apply_cpu(cg, res->cpu, e);
	if (r == 0 && res->pids && res->pids->limit)
		r = set_number(cg, "pids", "pids.max", res->pids->limit, e);
	if (r == 0)
		r = apply_io(cg, res->blockio, e);
	if (r == 0)
		r = apply_hugetlb(cg, res->hugepagelimits, res->n_hugepagelimits, e);
	if (r == 0)
		r = apply_devices(cg, res, l, e);
	return r;
}

int resources_update(struct cgroup *cg, const Grpc__LinuxResources *res, struct err *e)
{
	Grpc__LinuxResources known = *res;

	if (known.n_devices)
		log_debug("%zu rules about devices are left out of an update", known.n_devices);
	known.devices = NULL;
	known.n_devices = 0;
	return resources_apply(cg, &known, NULL, e);
}

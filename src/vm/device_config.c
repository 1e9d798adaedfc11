/* SPDX-License-Identifier: Apache-2.0 */
/* Each kind is a table of its fields; copying, freeing, saving and loading walk through it. */
#include "vm/device_config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "state/state.h"

enum field_type { FIELD_END, FIELD_TEXT, FIELD_BOOL, FIELD_U16, FIELD_U32, FIELD_U64 };

struct field {
	const char *name;
	enum field_type type;
	size_t offset;
};

#define FIELD(kind, member, field_name, field_type)                                                                    \
	{                                                                                                              \
		.name = (field_name), .type = (field_type), .offset = offsetof(struct device_config, kind.member)      \
	}
#define BUCKET(kind, member, field_name)                                                                               \
	FIELD(kind, member.size, field_name "-size", FIELD_U64),                                                       \
		FIELD(kind, member.burst, field_name "-burst", FIELD_U64),                                             \
		FIELD(kind, member.refill_ms, field_name "-refill-ms", FIELD_U64)
#define RATE(kind, member, field_name)                                                                                 \
	BUCKET(kind, member bytes, field_name "-bytes"), BUCKET(kind, member ops, field_name "-ops")

static const struct field block_fields[] = {
	FIELD(block, path, "path", FIELD_TEXT),
	FIELD(block, readonly, "readonly", FIELD_BOOL),
	FIELD(block, flush, "flush", FIELD_BOOL),
	FIELD(block, discard, "discard", FIELD_BOOL),
	FIELD(block, direct, "direct", FIELD_BOOL),
	FIELD(block, io_uring, "io-uring", FIELD_BOOL),
	FIELD(block, own_thread, "own-thread", FIELD_BOOL),
	FIELD(block, queues, "queues", FIELD_U32),
	FIELD(block, queue_size, "queue-size", FIELD_U32),
	FIELD(block, serial, "serial", FIELD_TEXT),
	RATE(block, rate., "rate"),
	{ 0 },
};
static const struct field net_fields[] = {
	FIELD(net, tap, "tap", FIELD_TEXT),
	FIELD(net, socket, "socket", FIELD_TEXT),
	FIELD(net, queue_pairs, "queue-pairs", FIELD_U32),
	FIELD(net, mac, "mac", FIELD_TEXT),
	FIELD(net, mtu, "mtu", FIELD_U16),
	RATE(net, rx., "rx"),
	RATE(net, tx., "tx"),
	{ 0 },
};
static const struct field vsock_fields[] = {
	FIELD(vsock, cid, "cid", FIELD_U32),
	FIELD(vsock, uds_path, "uds-path", FIELD_TEXT),
	{ 0 },
};
static const struct field fs_fields[] = {
	FIELD(fs, tag, "tag", FIELD_TEXT),
	FIELD(fs, socket, "socket", FIELD_TEXT),
	FIELD(fs, queues, "queues", FIELD_U32),
	FIELD(fs, queue_size, "queue-size", FIELD_U32),
	{ 0 },
};
static const struct field rng_fields[] = { RATE(rng, , "rate"), { 0 } };
static const struct field balloon_fields[] = {
	FIELD(balloon, bytes, "bytes", FIELD_U64),
	FIELD(balloon, deflate_on_oom, "deflate-on-oom", FIELD_BOOL),
	FIELD(balloon, free_page_reporting, "free-page-reporting", FIELD_BOOL),
	FIELD(balloon, stats_interval_s, "stats-interval-s", FIELD_U32),
	{ 0 },
};
static const struct field memory_fields[] = {
	FIELD(memory, max, "max", FIELD_U64),
	FIELD(memory, block, "block", FIELD_U64),
	FIELD(memory, requested, "requested", FIELD_U64),
	{ 0 },
};
static const struct field pmem_fields[] = {
	FIELD(pmem, path, "path", FIELD_TEXT),
	FIELD(pmem, readonly, "readonly", FIELD_BOOL),
	RATE(pmem, rate., "rate"),
	{ 0 },
};
static const struct field console_fields[] = { { 0 } };

static const struct kind {
	const char *name;
	size_t size; /* of the structure that it is added with */
	const struct field *fields;
} kinds[DEVICE_KINDS] = {
	[DEVICE_BLOCK] = { "block", sizeof(struct vmm_block), block_fields },
	[DEVICE_NET] = { "net", sizeof(struct vmm_net), net_fields },
	[DEVICE_VSOCK] = { "vsock", sizeof(struct vmm_vsock), vsock_fields },
	[DEVICE_FS] = { "fs", sizeof(struct vmm_fs), fs_fields },
	[DEVICE_RNG] = { "rng", sizeof(struct vmm_rate), rng_fields },
	[DEVICE_BALLOON] = { "balloon", sizeof(struct vmm_balloon), balloon_fields },
	[DEVICE_MEMORY] = { "memory", sizeof(struct vmm_memory), memory_fields },
	[DEVICE_PMEM] = { "pmem", sizeof(struct vmm_pmem), pmem_fields },
	[DEVICE_CONSOLE] = { "console", sizeof(struct vmm_console), console_fields },
};

const char *device_kind_name(enum vm_device_kind kind)
{
	return kinds[kind].name;
}

static void *at(const struct device_config *c, const struct field *f)
{
	return (char *)(uintptr_t)c + f->offset;
}

/* What a structure has instead of descriptors. */
static void forget_descriptors(struct device_config *c)
{
	if (c->kind == DEVICE_BLOCK)
		c->block.fd = -1;
	if (c->kind == DEVICE_CONSOLE)
		c->console.in = c->console.out = -1;
	if (c->kind == DEVICE_NET) {
		c->net.tap_fds = NULL;
		c->net.n_tap_fds = 0;
	}
}

int device_config_copy(struct device_config *ret, enum vm_device_kind kind, const void *config)
{
	struct device_config c;
	bool failed = false;

	memset(&c, 0, sizeof c);
	c.kind = kind;
	if (config)
		memcpy(&c.block, config, kinds[kind].size);
	if (kind == DEVICE_NET && c.net.n_tap_fds)
		c.net.queue_pairs = (uint32_t)c.net.n_tap_fds;
	forget_descriptors(&c);
	for (const struct field *f = kinds[kind].fields; f->type; f++) {
		char **text = at(&c, f);

		if (f->type != FIELD_TEXT || !*text)
			continue;
		*text = failed ? NULL : strdup(*text);
		failed |= !*text;
	}
	if (failed) {
		device_config_fini(&c);
		memset(ret, 0, sizeof *ret);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

void device_config_fini(struct device_config *c)
{
	for (const struct field *f = kinds[c->kind].fields; f->type; f++)
		if (f->type == FIELD_TEXT)
			free(*(char **)at(c, f));
	memset(c, 0, sizeof *c);
}

/* Where the device gets at the host; NULL: it does not. */
static const char **path_of(struct device_config *c)
{
	switch (c->kind) {
	case DEVICE_BLOCK:
		return &c->block.path;
	case DEVICE_NET:
		return c->net.socket ? &c->net.socket : &c->net.tap;
	case DEVICE_VSOCK:
		return &c->vsock.uds_path;
	case DEVICE_FS:
		return &c->fs.socket;
	case DEVICE_PMEM:
		return &c->pmem.path;
	default:
		return NULL;
	}
}

int device_config_set_path(struct device_config *c, const char *path)
{
	const char **where = path_of(c);
	char *copy = strdup(path);

	if (!copy || !where) {
		free(copy);
		return copy ? -EINVAL : -ENOMEM;
	}
	free((void *)(uintptr_t)*where);
	*where = copy;
	return 0;
}

void device_config_save(const struct device_config *c, struct state *s)
{
	state_put_str(s, "kind", kinds[c->kind].name);
	for (const struct field *f = kinds[c->kind].fields; f->type; f++) {
		const void *value = at(c, f);

		switch (f->type) {
		case FIELD_TEXT:
			if (*(const char *const *)value)
				state_put_str(s, f->name, *(const char *const *)value);
			break;
		case FIELD_BOOL:
			state_put_u64(s, f->name, *(const bool *)value);
			break;
		case FIELD_U16:
			state_put_u64(s, f->name, *(const uint16_t *)value);
			break;
		case FIELD_U32:
			state_put_u64(s, f->name, *(const uint32_t *)value);
			break;
		case FIELD_U64:
			state_put_u64(s, f->name, *(const uint64_t *)value);
			break;
		case FIELD_END:
			break;
		}
	}
}

static int load_text(char **ret, const struct field *f, const struct state *s, struct err *e)
{
	const char *text;
	struct err absent = { 0 };
	int r = state_get_str(s, f->name, &text, &absent);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_set(e, absent.domain, absent.code, "%s", absent.text);
	*ret = strdup(text);
	return *ret ? 0 : err_sys(e, ENOMEM, "cannot restore a device");
}

static int load_field(struct device_config *c, const struct field *f, const struct state *s, struct err *e)
{
	static const uint64_t most[] = {
		[FIELD_BOOL] = 1, [FIELD_U16] = UINT16_MAX, [FIELD_U32] = UINT32_MAX, [FIELD_U64] = UINT64_MAX
	};
	void *value = at(c, f);
	uint64_t n;
	int r;

	if (f->type == FIELD_TEXT)
		return load_text(value, f, s, e);
	r = state_get_max(s, f->name, most[f->type], &n, e);
	if (r < 0)
		return r;
	if (f->type == FIELD_BOOL)
		*(bool *)value = n;
	else if (f->type == FIELD_U16)
		*(uint16_t *)value = (uint16_t)n;
	else if (f->type == FIELD_U32)
		*(uint32_t *)value = (uint32_t)n;
	else
		*(uint64_t *)value = n;
	return 0;
}

static int load_kind(enum vm_device_kind *ret, const struct state *s, struct err *e)
{
	const char *name;
	int r = state_get_str(s, "kind", &name, e);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < DEVICE_KINDS; i++)
		if (!strcmp(kinds[i].name, name)) {
			*ret = (enum vm_device_kind)i;
			return 0;
		}
	return err_set(e, ERR_CONFIG, ENOTSUP, "unknown kind of device \"%.32s\": was it saved by a newer program?",
		       name);
}

/* The new path is there, and a device that needs one has one. */
static int load_path(struct device_config *c, const char *path, struct err *e)
{
	const char **where = path_of(c);
	int r;

	if (path && !where)
		return err_set(e, ERR_CONFIG, EINVAL, "a device of kind %s has no path to replace",
			       kinds[c->kind].name);
	r = path ? device_config_set_path(c, path) : 0;
	if (r < 0)
		return err_sys(e, -r, "cannot restore a device");
	if (where && !*where)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "it had been given as an open descriptor: name its %s to restore it",
			       c->kind == DEVICE_NET ? "tap" : "path");
	return 0;
}

int device_config_load(struct device_config *ret, const struct state *s, const char *path, struct err *e)
{
	struct device_config c;
	int r;

	memset(&c, 0, sizeof c);
	r = load_kind(&c.kind, s, e);
	if (r < 0)
		return r;
	forget_descriptors(&c);
	for (const struct field *f = kinds[c.kind].fields; r == 0 && f->type; f++)
		r = load_field(&c, f, s, e);
	if (r == 0)
		r = load_path(&c, path, e);
	if (r < 0) {
		device_config_fini(&c);
		return r;
	}
	*ret = c;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Looking keys up: by number, by any spelling, by likeness; their defaults; the names of the hypervisors. */
#include "config/keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strv.h"
#include "config/keys_table.h"

static const char *const hypervisor_names[] = {
	"qemu", "clh", "firecracker", "dragonball", "stratovirt", "remote", "openvmm", NULL,
};

/* In pairs. The built-in VMM has the place, and so the table, that Dragonball has in Kata. */
static const char *const hypervisor_aliases[][2] = {
	{ "cloud-hypervisor", "clh" },
	{ "fc", "firecracker" },
	{ "builtin", "dragonball" },
};

const char *const *config_hypervisor_names(void)
{
	return hypervisor_names;
}

const char *config_hypervisor_canonical(const char *name)
{
	for (size_t i = 0; i < sizeof hypervisor_aliases / sizeof hypervisor_aliases[0]; i++)
		if (!strcmp(name, hypervisor_aliases[i][0]))
			return hypervisor_aliases[i][1];
	for (size_t i = 0; hypervisor_names[i]; i++)
		if (!strcmp(name, hypervisor_names[i]))
			return hypervisor_names[i];
	return NULL;
}

unsigned config_hypervisor_bit(const char *name)
{
	for (size_t i = 0; name && hypervisor_names[i]; i++)
		if (!strcmp(name, hypervisor_names[i]))
			return 1u << i; /* CONFIG_Q … are in this order */
	return 0;
}

size_t config_key_count(void)
{
	return config_n_keys_hypervisor + config_n_keys_pod;
}

const struct config_key *config_key_at(size_t i)
{
	if (i < config_n_keys_hypervisor)
		return &config_keys_hypervisor[i];
	i -= config_n_keys_hypervisor;
	return i < config_n_keys_pod ? &config_keys_pod[i] : NULL;
}

/* Is name one of the aliases? */
static bool is_alias(const char *aliases, const char *name, bool annotation, unsigned *ret_scale)
{
	size_t n = strlen(name);

	for (const char *a = aliases; a && *a; a += strcspn(a, " "), a += strspn(a, " ")) {
		bool only_annotation = *a == '@';

		a += only_annotation;
		if (strncmp(a, name, n) || !strchr(" *", a[n]) || (only_annotation && !annotation))
			continue;
		*ret_scale = a[n] == '*' ? (unsigned)atoi(a + n + 1) : 1;
		return true;
	}
	return false;
}

int config_key_find(enum config_section section, const char *name, bool annotation, unsigned *ret_scale)
{
	const struct config_key *key;
	unsigned scale = 1;

	for (size_t i = 0; (key = config_key_at(i)); i++) {
		if (key->section != section)
			continue;
		scale = 1;
		if (!strcmp(key->name, name) || is_alias(key->aliases, name, annotation, &scale)) {
			if (ret_scale)
				*ret_scale = scale;
			return (int)i;
		}
	}
	return -ENOENT;
}

#define NAME_MAX_LEN 63

/* Levenshtein distance; a swap of neighbours costs 1. Names longer than NAME_MAX_LEN are far from everything. */
static unsigned distance(const char *a, const char *b)
{
	unsigned rows[3][NAME_MAX_LEN + 1], *before = rows[0], *last = rows[1], *now = rows[2], *tmp;
	size_t n = strlen(a), m = strlen(b);

	if (n > NAME_MAX_LEN || m > NAME_MAX_LEN)
		return 1000;
	for (size_t j = 0; j <= m; j++) {
		last[j] = (unsigned)j;
		before[j] = 1000;
	}
	for (size_t i = 1; i <= n; i++) {
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned d = last[j - 1] + (a[i - 1] != b[j - 1]);

			d = last[j] + 1 < d ? last[j] + 1 : d;
			d = now[j - 1] + 1 < d ? now[j - 1] + 1 : d;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < d)
				d = before[j - 2] + 1;
			now[j] = d;
		}
		tmp = before;
		before = last;
		last = now;
		now = tmp;
	}
	return last[m];
}

/* How far a name may be off and still be offered. */
static unsigned tolerance(const char *name)
{
	size_t n = strlen(name);

	return n < 3 ? 1 : n < 6 ? 2 : (unsigned)(n / 3);
}

const char *config_nearest(const char *name, const char *const *candidates)
{
	unsigned best = tolerance(name) + 1;
	const char *found = NULL;

	for (; *candidates; candidates++) {
		unsigned d = distance(name, *candidates);

		if (d < best) {
			best = d;
			found = *candidates;
		}
	}
	return found;
}

const char *config_key_nearest(enum config_section section, const char *name)
{
	unsigned best = tolerance(name) + 1;
	const struct config_key *key;
	const char *found = NULL;

	for (size_t i = 0; (key = config_key_at(i)); i++) {
		unsigned d = key->section == section ? distance(name, key->name) : 1000;

		if (d < best) {
			best = d;
			found = key->name;
		}
	}
	return found;
}

void config_key_default(const struct config_key *key, const char *hypervisor, char *out, size_t size)
{
	const char *p = key->def, *value = p;
	size_t n = strcspn(p, ";"), len = n;

	for (p += n; *p == ';'; p += n) {
		size_t name = strcspn(++p, "=");

		n = strcspn(p, ";");
		if (hypervisor && strlen(hypervisor) == name && !memcmp(hypervisor, p, name)) {
			value = p + name + 1;
			len = n - name - 1;
		}
	}
	snprintf(out, size, "%.*s", (int)len, value);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One value on its way into struct config, and where values came from. Private to config/. */
#pragma once

#include "codec/toml.h"
#include "config/config.h"

struct config_value {
	enum config_type type;
	union {
		bool boolean;
		uint64_t integer; /* U32, U64 */
		double number;
		char *string;
		struct strv list;
	} u;
};

void config_value_fini(struct config_value *v);
#define _cleanup_value_ __attribute__((cleanup(config_value_fini)))

/*
 * Read and check. scale: what an integer is multiplied by. why: a clause on what is wrong, e.g. "expected a boolean,
 * found a string". 0, -EINVAL with why, -ENOMEM.
 */
int config_value_from_toml(const struct config_key *key, const struct toml_value *v, unsigned scale,
			   struct config_value *ret, struct buf *why);
int config_value_from_text(const struct config_key *key, const char *text, unsigned scale, struct config_value *ret,
			   struct buf *why);

/* A copy of what the configuration holds. */
int config_value_get(const struct config *c, const struct config_key *key, struct config_value *ret);
bool config_value_equal(const struct config_value *a, const struct config_value *b);
/* As TOML would write it. */
int config_value_format(const struct config_value *v, struct buf *out);

/* Stronger ones win. */
enum config_layer { CONFIG_BY_DEFAULT, CONFIG_BY_FILE, CONFIG_BY_ANNOTATION, CONFIG_BY_FLAG };

struct config_origin {
	enum config_layer layer;
	char *text; /* NULL: "default" */
};

struct config_origins {
	size_t n;
	struct config_origin of[]; /* by number of the key */
};

/* Put the value, which is taken over, also on failure, into its field. origin: copied; NULL: "default". */
int config_store(struct config *c, size_t key, struct config_value *v, enum config_layer layer, const char *origin);

/* All defaults for the hypervisor (canonical or NULL). */
int config_new(const char *hypervisor, struct config **ret);

/* "[hypervisor.qemu]", "[agent.kata]", …, into out. */
const char *config_section_title(const struct config *c, enum config_section section, char out[64]);

/* image and initrd: the weaker of two sources gives way; two of the same strength are an error. */
int config_check_image(struct config *c, struct err *e);

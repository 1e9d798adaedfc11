/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The effective configuration: Kata's TOML files, drop-ins and annotations, checked and laid over the defaults.
 * A field has the name of its key (keys.h). Strings are never NULL: an absent one is "".
 *
 * A value comes, the later ones winning, from the default for the chosen hypervisor; the main file; the files of the
 * config.d folder beside it, in the order of their names, merged table by table; annotations; the command line.
 * Each value remembers which: see config_origin().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"
#include "config/keys.h"

/* The C type of each key type. */
#define CONFIG_CTYPE_BOOL        bool
#define CONFIG_CTYPE_U32         uint32_t
#define CONFIG_CTYPE_U64         uint64_t
#define CONFIG_CTYPE_F64         double
#define CONFIG_CTYPE_STR         char *
#define CONFIG_CTYPE_LIST        struct strv
#define CONFIG_FIELD(type, name) CONFIG_CTYPE_##type name;

/* One [[hypervisor.X.guest_extension_images]] table. */
struct config_extension_image {
	char *name, *path, *verity_params;
};

/* initdata: the document itself from a file; base64 of its gzip from the annotation cc_init_data (see the origin). */
struct config_hypervisor {
	CONFIG_HYPERVISOR_KEYS(CONFIG_FIELD)
	struct config_extension_image *extension_images;
	size_t n_extension_images;
};

struct config_agent {
	CONFIG_AGENT_KEYS(CONFIG_FIELD)
};

struct config_runtime {
	CONFIG_RUNTIME_KEYS(CONFIG_FIELD)
};

struct config_factory {
	CONFIG_FACTORY_KEYS(CONFIG_FIELD)
};

struct config {
	char *path;            /* the main file, resolved; NULL: built-in defaults only */
	char *hypervisor_name; /* canonical, as config_hypervisor_names() has it; "": nothing names one, caller chooses
				*/
	struct config_hypervisor hypervisor;
	struct config_agent agent;
	struct config_runtime runtime;
	struct config_factory factory;
	struct config_origins *origins; /* where each value came from; see config_print() */
};

#define CONFIG_FILE_MAX     (1u << 20) /* bytes of one configuration file */
#define CONFIG_DROP_INS_MAX 256

struct config_load_options {
	const char *path;       /* --config; NULL: KATA_CONF_FILE, then the first file of the search order, then none */
	const char *body;       /* NUL-terminated text instead of any file (runtime option config_body); NULL: none */
	const char *hypervisor; /* --hypervisor: name or alias; NULL: the configuration says */
	const struct strv
		*annotations; /* KEY=VALUE; others than io.katacontainers.config.* are passed over; may be NULL */
	bool strict;          /* unknown keys, tables and annotations are errors */
	const char *root;     /* put in front of the searched paths; NULL: nothing (for tests) */
};

/*
 * Load and check. warnings: sentences to be shown, appended; may be NULL. *ret: free with config_free().
 *
 * The hypervisor is o->hypervisor, else the annotation runtime.hypervisor_name (where the file has its table), else
 * runtime.hypervisor_name, else that of the only [hypervisor.*] table, else "": the caller then decides and, to get the
 * defaults and the table of its choice, loads again with o->hypervisor.
 */
int config_load(const struct config_load_options *o, struct config **ret, struct strv *warnings, struct err *e);
void config_free(struct config *c);
DEFINE_CLEANUP(struct config *, config_free)
#define _cleanup_config_ _cleanup_(config_free_p)

/*
 * A command line flag: replace the value of a key. section: "hypervisor", "agent", "runtime", "factory". value: as in
 * an annotation: a list is "a,b" or ["a", "b"]. origin: the flag, for messages and config_print(): "--kernel".
 * Setting image clears an initrd from a weaker source, and the other way round.
 */
int config_override(struct config *c, const char *section, const char *key, const char *value, const char *origin,
		    struct err *e);

/* Where the value of a key came from: "default", "FILE:LINE", "annotation NAME", "--flag"; NULL: no such key. */
const char *config_origin(const struct config *c, enum config_section section, const char *key);
/* Did anyone set it? */
bool config_is_set(const struct config *c, enum config_section section, const char *key);

/*
 * Tell of each key that someone set to something else than its default and that nobody reads: "FILE:LINE:
 * [hypervisor.qemu] key has no effect …". hypervisor_keys: those the driver honours (hypervisor_driver.honoured_keys);
 * other_keys: "agent.NAME", "runtime.NAME", "factory.NAME". Both NULL-terminated; NULL: that part is not looked at.
 */
int config_warn_ineffective(const struct config *c, const char *const *hypervisor_keys, const char *const *other_keys,
			    struct strv *warnings);

/* Each value with its origin, as an aligned table or as JSON (array "values" of section, key, value, origin, …). */
int config_print(const struct config *c, bool json, struct buf *out);

/* `caisson config`: load and print. */
int config_command_print(const struct config_load_options *o, bool json, struct buf *out, struct strv *warnings,
			 struct err *e);

/* The files config_load() looks for, in order, NULL-terminated. */
const char *const *config_search_paths(void);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The effective configuration: Kata's TOML files, drop-ins and annotations, checked and laid over the defaults.
 * A field has the name of its key (keys.h). Strings are never NULL: an absent one is "".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

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
	char *hypervisor_name; /* "qemu", "clh", "firecracker", "stratovirt", "dragonball", "builtin", "remote" */
	struct config_hypervisor hypervisor;
	struct config_agent agent;
	struct config_runtime runtime;
	struct config_factory factory;
	struct config_origins *origins; /* where each value came from; see config_print() */
};

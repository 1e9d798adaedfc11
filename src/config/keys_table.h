/* SPDX-License-Identifier: Apache-2.0 */
/* How the rows of the key tables are written (keys_hypervisor.c, keys_pod.c). Private to config/. */
#pragma once

#include "config/config.h"

#define KEY_TYPE(field)                                                                                                \
	_Generic(((struct config *)0)->field,                                                                          \
		 bool: CONFIG_BOOL,                                                                                    \
		 uint32_t: CONFIG_U32,                                                                                 \
		 uint64_t: CONFIG_U64,                                                                                 \
		 double: CONFIG_F64,                                                                                   \
		 char *: CONFIG_STR,                                                                                   \
		 struct strv: CONFIG_LIST)

/* ROW(section, member of struct config, name, hypervisors, default, meaning, further members…) */
#define ROW(sec, member, key, hv, dflt, text, ...)                                                                     \
	{                                                                                                              \
		.name = #key, .section = sec, .type = KEY_TYPE(member.key),                                            \
		.offset = offsetof(struct config, member.key), .known = hv, .def = dflt, .meaning = text,              \
		##__VA_ARGS__                                                                                          \
	}

/* A key that is known and has no field. */
#define ROW_OPAQUE(sec, key, hv, text)                                                                                 \
	{                                                                                                              \
		.name = #key, .section = sec, .type = CONFIG_OPAQUE, .known = hv, .def = "", .meaning = text           \
	}

extern const struct config_key config_keys_hypervisor[];
extern const size_t config_n_keys_hypervisor;
extern const struct config_key config_keys_pod[];
extern const size_t config_n_keys_pod;

/* SPDX-License-Identifier: Apache-2.0 */
/* From what names a configuration to a configuration and a driver, with its warnings told once. */
#pragma once

#include "base/err.h"
#include "base/strv.h"
#include "config/config.h"
#include "hypervisor/driver.h"

struct settings_request {
	const char *config;     /* --config; NULL: the search order */
	const char *body;       /* text in place of any file; NULL: none */
	const char *hypervisor; /* --hypervisor; NULL: as configured */
	const char *kernel, *initrd, *image;
	const struct strv *annotations; /* KEY=VALUE */
	bool strict, quiet;
};

/* Load, apply annotations and flags, choose the driver. Warnings go to the log. */
int settings_load(const struct settings_request *q, struct config **ret, const struct hypervisor_driver **ret_driver,
		  struct err *e);
/* The built-in defaults of one hypervisor. */
int settings_defaults(const char *hypervisor, struct config **ret, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* --config-file: one JSON document with everything that requests would have said. */
#pragma once

#include "vmm/instance.h"

#define CONFIG_FILE_MAX (1024 * 1024) /* bytes */

/* Read and apply it; does not start the VM. e names the file. */
int config_file_apply(struct instance *i, const char *path, struct err *e);

/* The same from memory. */
int config_text_apply(struct instance *i, const char *text, size_t len, struct err *e);

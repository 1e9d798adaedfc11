/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct options {
	const char *api_sock, *id, *config_file, *log_path, *level, *module, *metrics_path;
	bool no_api, no_seccomp, show_level, show_log_origin, boot_timer, map_kernel, split_irqchip, enable_pci,
		version, help;
	uint64_t max_payload, start_time_us, start_time_cpu_us, parent_cpu_time_us;
};

/* argv is borrowed. 0, or -EINVAL: e has a sentence. */
int options_parse(int argc, char **argv, struct options *ret, struct err *e);

/* What --help prints. */
extern const char options_help[];

/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of the filters (sys/filter.h) as they are written here. Private to the layer. */
#pragma once

#include <sys/syscall.h>

#include "sys/filter.h"

#define ALLOW(name)                                                                                                    \
	{                                                                                                              \
		.call = SYS_##name                                                                                     \
	}
#define ALLOW_IS(name, index, number)                                                                                  \
	{                                                                                                              \
		.call = SYS_##name, .test = FILTER_ARG_IS, .arg = index, .value = (uint32_t)(number)                   \
	}
#define ALLOW_LACKS(name, index, bits)                                                                                 \
	{                                                                                                              \
		.call = SYS_##name, .test = FILTER_ARG_LACKS, .arg = index, .value = (uint32_t)(bits)                  \
	}
#define ALLOW_IOCTL(request) ALLOW_IS(ioctl, 1, request)

/* What the functions of caisson/vmm.h need beyond what devices do, and threads on their way to their own filter. */
extern const struct filter_table machine_control_calls;

/* SPDX-License-Identifier: Apache-2.0 */
/* Mount options as a host or an image may write them: lines are options. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sys/mounts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_strv_ struct strv options = { 0 };
	struct mount_options o;
	struct err e = { 0 };
	char *copy = strndup((const char *)data, size), *rest = copy, *line;

	while (copy && options.len < 64 && (line = strsep(&rest, "\n")))
		strv_add(&options, line);
	if (mount_options_parse(options.v, options.len, &o, &e) < 0) {
		if (!err_is_set(&e))
			abort();
	} else {
		/* A bit is either set or cleared, but for the atime field, which is cleared before it is set. */
		if (o.attr_set & o.attr_clr & ~(uint64_t)0x70)
			abort();
		mount_options_fini(&o);
	}
	free(copy);
	return 0;
}

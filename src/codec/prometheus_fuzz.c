/* SPDX-License-Identifier: Apache-2.0 */
/* What can be read can be written, and what was written is read and written as the same text. */
#include <stdlib.h>
#include <string.h>

#include "codec/prometheus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int rewrite(const char *text, size_t len, const struct prom_read *how, struct buf *out)
{
	_cleanup_prom_ struct prom *p = prom_new();

	if (!p)
		abort();
	if (prom_read(p, text, len, how, NULL) < 0)
		return -1;
	if (prom_write(p, out) < 0)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keep[] = { "kata_", NULL };
	const struct prom_label label = { "sandbox_id", "s" };
	const struct prom_read how = { .keep = keep, .prefix = "kata_agent_", .label = &label };
	struct buf first = { 0 }, second = { 0 }, renamed = { 0 };

	if (rewrite((const char *)data, size, NULL, &first) == 0) {
		if (rewrite(first.data ? first.data : "", first.len, NULL, &second) < 0)
			abort();
		if (first.len != second.len || (first.len && memcmp(first.data, second.data, first.len)))
			abort();
	}
	rewrite((const char *)data, size, &how, &renamed);
	buf_fini(&first);
	buf_fini(&second);
	buf_fini(&renamed);
	return 0;
}

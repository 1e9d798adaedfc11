/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a TOML document: no crash, no leak, and a refusal always comes with a message. */
#include <stdlib.h>

#include "base/strv.h"
#include "codec/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_toml_ struct toml_value *doc = NULL;
	struct toml_value *again = NULL;
	struct err e = { 0 };

	if (toml_parse((const char *)data, size, "fuzz", &doc, &e) < 0) {
		if (!str_after(e.text, "fuzz:"))
			abort();
		return 0;
	}
	/* A document merged with itself is a document. */
	if (toml_parse((const char *)data, size, "fuzz", &again, NULL) < 0 || toml_merge(doc, again) < 0)
		abort();
	return 0;
}

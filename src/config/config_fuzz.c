/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as a configuration, up to the first NUL; what follows it, as annotations, one per line. No crash, no leak,
 * and a refusal always comes with a message.
 */
#include <stdlib.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_strv_ struct strv annotations = { 0 }, warnings = { 0 };
	_cleanup_config_ struct config *c = NULL;
	_cleanup_free_ char *text = strndup((const char *)data, size), *rest = NULL;
	struct config_load_options o = { .body = text, .annotations = &annotations };
	_cleanup_buf_ struct buf out = { 0 };
	size_t n = strlen(text);
	struct err e = { 0 };

	/* libc's regcomp() needs time and memory without bound for nested repetitions; the file is trusted there. */
	if (strstr(text, "enable_annotations") && strpbrk(text, "{*+"))
		return 0;
	if (n < size) {
		char *line_save;

		rest = strndup((const char *)data + n + 1, size - n - 1);
		for (char *line = strtok_r(rest, "\n", &line_save); line; line = strtok_r(NULL, "\n", &line_save))
			strv_add(&annotations, line);
	}
	if (config_load(&o, &c, &warnings, &e) < 0) {
		if (!e.text[0])
			abort();
		return 0;
	}
	if (config_print(c, false, &out) < 0 || config_print(c, true, &out) < 0)
		abort();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest prints: nothing but clean text may come out of the other end. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "hypervisor/console.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct loop *loop = NULL;
	struct console *c = NULL;
	char text[8192];
	int p[2];

	if (size > 60000 || loop_new(&loop, NULL) < 0)
		return 0;
	if (pipe2(p, O_CLOEXEC) == 0) {
		if (console_new(loop, p[0], NULL, 0, NULL, &c, NULL) == 0) {
			fd_write_full(p[1], data, size);
			console_drain(c);
			console_last_lines(c, 1 + size % 50, text, 16 + size % (sizeof text - 16));
			for (const char *s = text; *s; s++)
				if ((unsigned char)*s < 0x20 || *s == 0x7f)
					abort();
			console_free(c);
		}
		close(p[1]);
	}
	loop_free(loop);
	return 0;
}

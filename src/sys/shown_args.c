/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/shown_args.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

/* proc(5), /proc/PID/stat: the fields behind the program's name begin with number 3. */
static int read_map(struct prctl_mm_map *ret)
{
	_cleanup_free_ char *text = NULL;
	uint64_t field[53] = { 0 };
	char *at, *end;

	if (file_read("/proc/self/stat", 4096, &text, NULL) < 0 || !(at = strrchr(text, ')')) || strlen(at) < 4)
		return -1;
	at += 4; /* number 3 is a letter */
	for (size_t i = 4; i < sizeof field / sizeof field[0]; i++, at = end) {
		field[i] = strtoull(at, &end, 10);
		if (end == at)
			return -1;
	}
	*ret = (struct prctl_mm_map){
		.start_code = field[26],
		.end_code = field[27],
		.start_stack = field[28],
		.start_data = field[45],
		.end_data = field[46],
		.start_brk = field[47],
		.env_start = field[50],
		.env_end = field[51],
		.exe_fd = (uint32_t)-1,
	};
	return 0;
}

void shown_args_prepare(struct shown_args *ret, char *const *args, size_t n)
{
	size_t len = 0;

	*ret = (struct shown_args){ 0 };
	if (!n || !(ret->text = malloc(SHOWN_ARGS_MAX)))
		return;
	for (size_t i = 0; i < n && len < SHOWN_ARGS_MAX; i++) {
		size_t size = strlen(args[i]) + 1;

		if (size > SHOWN_ARGS_MAX - len)
			size = SHOWN_ARGS_MAX - len;
		memcpy(ret->text + len, args[i], size);
		len += size;
	}
	ret->text[len - 1] = '\0';
	if (read_map(&ret->map) < 0) {
		shown_args_fini(ret);
		return;
	}
	ret->map.arg_start = (uintptr_t)ret->text;
	ret->map.arg_end = ret->map.arg_start + len;
}

void shown_args_set(const struct shown_args *a)
{
	struct prctl_mm_map map = a->map;

	if (!a->text)
		return;
	/* Other threads may have moved it since. */
	map.brk = (uintptr_t)sbrk(0);
	(void)prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
}

void shown_args_fini(struct shown_args *a)
{
	free(a->text);
	a->text = NULL;
}

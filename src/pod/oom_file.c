/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/oom_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"

#define PROGRAM     "conmon"
#define STAT_MAX    4096
#define CMDLINE_MAX (1 << 20)

static void leave(const char *folder)
{
	_cleanup_free_ char *path = str_printf("%s/oom", folder);
	int r = path ? file_replace(path, "", 0, 0644) : -ENOMEM;

	if (r < 0)
		log_warn("cannot write %s: %s", path ? path : "oom", strerror(-r));
}

/* 0: it cannot be told. */
static pid_t parent_of(pid_t pid)
{
	_cleanup_free_ char *path = str_printf("/proc/%d/stat", (int)pid), *text = NULL;
	char *rest;

	if (pid <= 0 || !path || file_read(path, STAT_MAX, &text, NULL) < 0)
		return 0;
	/* Behind the name, which may hold anything: a state of one letter, and the parent. */
	rest = strrchr(text, ')');
	return rest && strlen(rest) > 4 ? (pid_t)strtol(rest + 4, NULL, 10) : 0;
}

static const char *next_word(const char *word, const char *end)
{
	const char *next = word + strlen(word) + 1;

	return next < end ? next : NULL;
}

/* Whether it is conmon. *ret_folder: points into words; NULL: it was told of none. */
static bool is_conmon(const char *words, size_t len, const char **ret_folder)
{
	const char *end = words + len, *slash, *value, *word = words;

	*ret_folder = NULL;
	if (!len)
		return false;
	slash = strrchr(word, '/');
	if (!str_eq(slash ? slash + 1 : word, PROGRAM))
		return false;
	while ((word = next_word(word, end)) && !*ret_folder) {
		value = str_after(word, "--persist-dir=");
		*ret_folder = str_eq(word, "--persist-dir") ? next_word(word, end) : value;
	}
	return true;
}

void oom_file_leave(const char *bundle, pid_t standin, bool always)
{
	_cleanup_free_ char *path = str_printf("/proc/%d/cmdline", (int)parent_of(standin)), *words = NULL;
	const char *folder = NULL;
	bool conmon = false;
	size_t len;

	if (path && file_read(path, CMDLINE_MAX, &words, &len) == 0)
		conmon = is_conmon(words, len, &folder);
	if (conmon || always)
		leave(bundle);
	if (!str_empty(folder) && folder[0] == '/')
		leave(folder);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/globals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/strv.h"
#include "pod/state.h"

const char globals_help[] = "  --root DIR            where the state of containers is kept\n"
			    "  --config FILE         the configuration\n"
			    "  --log FILE            write the log there; errors go to stderr, too\n"
			    "  --log-format text|json   --log-level error|warn|info|debug   --debug\n";

enum flag {
	FLAG_ROOT,
	FLAG_CONFIG,
	FLAG_LOG,
	FLAG_LOG_FORMAT,
	FLAG_LOG_LEVEL,
	FLAG_DEBUG,
	FLAG_HELP,
	FLAG_VERSION,
	FLAG_IGNORED,
};

enum argument { NONE, REQUIRED, OPTIONAL_BOOL };

static const struct {
	const char *name;
	enum flag flag;
	enum argument argument;
} flags[] = {
	{ "root", FLAG_ROOT, REQUIRED },
	{ "config", FLAG_CONFIG, REQUIRED },
	{ "log", FLAG_LOG, REQUIRED },
	{ "log-format", FLAG_LOG_FORMAT, REQUIRED },
	{ "log-level", FLAG_LOG_LEVEL, REQUIRED },
	{ "debug", FLAG_DEBUG, OPTIONAL_BOOL },
	{ "criu", FLAG_IGNORED, REQUIRED },
	{ "rootless", FLAG_IGNORED, REQUIRED },
	{ "systemd-cgroup", FLAG_IGNORED, OPTIONAL_BOOL },
	{ "help", FLAG_HELP, NONE },
	{ "h", FLAG_HELP, NONE },
	{ "version", FLAG_VERSION, NONE },
	{ "v", FLAG_VERSION, NONE },
	{ "V", FLAG_VERSION, NONE },
};
#define N_FLAGS (sizeof flags / sizeof flags[0])

/* The owner of a pod works elsewhere: paths have to hold there, too. */
static int set_path(char *ret, const char *flag, const char *value, struct err *e)
{
	char cwd[PATH_MAX] = "";
	int n;

	if (value[0] != '/' && !getcwd(cwd, sizeof cwd))
		return err_sys(e, errno, "--%s %s", flag, value);
	n = snprintf(ret, PATH_MAX, "%s%s%s", cwd, *cwd ? "/" : "", value);
	if (str_empty(value) || n >= PATH_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "--%s: expected a path, not \"%s\"", flag, value);
	return 0;
}

static int set(struct globals *g, enum flag flag, const char *value, struct err *e)
{
	switch (flag) {
	case FLAG_ROOT:
		return set_path(g->root, "root", value, e);
	case FLAG_CONFIG:
		return set_path(g->config, "config", value, e);
	case FLAG_LOG:
		g->log = value;
		return 0;
	case FLAG_LOG_FORMAT:
		if (!str_eq(value, "json") && !str_eq(value, "text"))
			return err_set(e, ERR_CONFIG, EINVAL, "invalid log-format: %s (text and json are known)",
				       value);
		g->log_format = str_eq(value, "json") ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
		return 0;
	case FLAG_LOG_LEVEL:
		if (log_level_parse(value, &g->log_level) < 0)
			return err_set(e, ERR_CONFIG, EINVAL, "--log-level %s: expected error, warn, info or debug",
				       value);
		return 0;
	case FLAG_DEBUG:
		if (!str_eq(value, "false"))
			g->log_level = LOG_LEVEL_DEBUG;
		return 0;
	case FLAG_HELP:
		g->help = true;
		return 0;
	case FLAG_VERSION:
		g->version = true;
		return 0;
	case FLAG_IGNORED:
		break;
	}
	return 0;
}

int globals_parse(struct globals *g, int argc, char **argv, int *ret_at, struct err *e)
{
	int i, r;

	*g = (struct globals){ .log_level = log_get_level() };
	state_default_root(g->root, sizeof g->root);
	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		const char *name = argv[i] + strspn(argv[i], "-"), *eq = strchr(name, '='), *value = eq ? eq + 1 : NULL;
		size_t n = eq ? (size_t)(eq - name) : strlen(name), k = 0;

		while (k < N_FLAGS && (strncmp(flags[k].name, name, n) || flags[k].name[n]))
			k++;
		if (k == N_FLAGS || (value && flags[k].argument == NONE))
			return err_set(e, ERR_CONFIG, EINVAL, "%s: unknown flag or value; see: caisson --help",
				       argv[i]);
		if (!value && flags[k].argument == REQUIRED) {
			if (++i == argc)
				return err_set(e, ERR_CONFIG, EINVAL, "%s: a value is missing", argv[i - 1]);
			value = argv[i];
		}
		r = set(g, flags[k].flag, value ? value : "", e);
		if (r < 0)
			return r;
	}
	*ret_at = i;
	return 0;
}

int globals_open_log(const struct globals *g, struct err *e)
{
	int fd = STDERR_FILENO;

	log_set_level(g->log_level);
	if (g->log) {
		fd = open(g->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
		if (fd < 0)
			return err_sys(e, errno, "cannot open the log %s", g->log);
		log_set_error_copy(STDERR_FILENO);
	}
	log_set_sink(fd, g->log_format, "caisson");
	return 0;
}

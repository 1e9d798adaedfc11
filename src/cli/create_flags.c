/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/create_flags.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>

#include "base/strv.h"

/* Taken without effect: a guest's root is never pivoted on the host, and it has keyrings of its own. */
static const struct option options[] = {
	{ "bundle", required_argument, NULL, 'b' },
	{ "console-socket", required_argument, NULL, 'c' },
	{ "pid-file", required_argument, NULL, 'p' },
	{ "preserve-fds", required_argument, NULL, 'f' },
	{ "no-pivot", no_argument, NULL, 'i' },
	{ "no-new-keyring", no_argument, NULL, 'i' },
	{ "help", no_argument, NULL, 'h' },
	{ "detach", no_argument, NULL, 'd' },
	{ "keep", no_argument, NULL, 'k' },
	{ "no-subreaper", no_argument, NULL, 'i' },
	{ 0 },
};

int create_flags_parse(struct create_flags *f, int argc, char **argv)
{
	bool run = str_eq(argv[0], "run");
	int flag, said = opterr;

	*f = (struct create_flags){ 0 };
	opterr = 0;
	optind = 1;
	while ((flag = getopt_long(argc, argv, "+b:dh", options, NULL)) != -1) {
		if (flag == 'b')
			f->bundle = optarg;
		else if (flag == 'c')
			f->console_socket = optarg;
		else if (flag == 'p')
			f->pid_file = optarg;
		else if (flag == 'f' && str_to_u64(optarg, 10, &f->preserve_fds) < 0)
			break;
		else if (flag == 'd' && run)
			f->detach = true;
		else if (flag == 'k' && run)
			f->keep = true;
		else if (flag != 'i' && flag != 'f') {
			f->help = flag == 'h';
			break;
		}
	}
	if (flag == -1 && argc - optind == 1 && !str_eq(argv[optind - 1], "--"))
		f->id = argv[optind];
	opterr = said;
	optind = 1;
	return f->id ? 0 : -EINVAL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* caisson config: the effective configuration and where each value comes from. */
#include <getopt.h>
#include <stdio.h>

#include "base/log.h"
#include "cli/command.h"
#include "config/config.h"
#include "hypervisor/driver.h"

int command_config(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "annotation", required_argument, NULL, 'a' },
		{ "hypervisor", required_argument, NULL, 'H' },
		{ "json", no_argument, NULL, 'j' },
		{ "strict", no_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	_cleanup_strv_ struct strv annotations = { 0 }, warnings = { 0 };
	struct config_load_options o = { .annotations = &annotations };
	_cleanup_buf_ struct buf out = { 0 };
	struct err e = { 0 };
	bool json = false;
	int flag, r;

	while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (flag == 'c')
			o.path = optarg;
		else if (flag == 'a' && strv_add(&annotations, optarg) == 0)
			continue;
		else if (flag == 'H')
			o.hypervisor = optarg;
		else if (flag == 'j')
			json = true;
		else if (flag == 's')
			o.strict = true;
		else {
			fprintf(flag == 'h' ? stdout : stderr, "usage: caisson config [--config FILE] [--annotation "
							       "KEY=VALUE] [--hypervisor NAME] [--json] "
							       "[--strict]\n");
			return flag == 'h' ? 0 : EXIT_CAISSON;
		}
	}
	r = config_command_print(&o, json, &out, &warnings, &e);
	for (size_t i = 0; i < warnings.len; i++)
		log_warn("%s", warnings.v[i]);
	if (r < 0) {
		log_error("%s", e.text);
		return EXIT_CAISSON;
	}
	fputs(out.data, stdout);
	return 0;
}

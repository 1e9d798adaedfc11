/* SPDX-License-Identifier: Apache-2.0 */
/* caisson version */
#include <stdio.h>

#include "cli/command.h"

int command_version(const struct globals *g, int argc, char **argv)
{
	(void)g;
	(void)argc;
	(void)argv;
	printf("caisson %s\nOCI runtime specification 1.1.0\nKata agent protocol 4.1\n", CAISSON_VERSION);
	return 0;
}

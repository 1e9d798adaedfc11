/* SPDX-License-Identifier: Apache-2.0 */
/* caisson features. */
#include "oci/features.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/strv.h"
#include "cli/command.h"
#include "cli/oci_command.h"

int command_features(const struct globals *g, int argc, char **argv)
{
	_cleanup_free_ char *text = NULL;

	(void)g;
	if (argc > 1)
		return oci_command_usage("features", str_eq(argv[1], "--help") || str_eq(argv[1], "-h"));
	text = oci_features(true);
	if (!text)
		return oci_command_end(-ENOMEM, NULL);
	puts(text);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Where log and metrics go. */
#include "vmm/handlers.h"

HANDLER(put_logger)
{
	struct err e = { 0 };

	if (logger_update(&i->logger, body, &e) < 0)
		answer_err(a, "Logger error", &e);
}

HANDLER(put_metrics)
{
	struct err e = { 0 };

	if (metrics_configure(&i->metrics, body, &e) < 0)
		answer_err(a, "Metrics error", &e);
}

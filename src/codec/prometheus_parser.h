/* SPDX-License-Identifier: Apache-2.0 */
/* One line of Prometheus' text format, taken apart in place. For prometheus.c. */
#pragma once

#include <stddef.h>

#include "codec/prometheus.h"

struct prom_sample {
	char *name;
	struct {
		char *name, *value;
	} labels[PROM_LABELS_MAX];
	size_t n_labels;
	double value;
};

/* help NULL: it tells the type. */
struct prom_about {
	char *name, *help;
	enum prom_type type;
};

enum prom_line { PROM_LINE_BAD, PROM_LINE_NOTHING, PROM_LINE_SAMPLE, PROM_LINE_ABOUT };

/* line: NUL-terminated, changed; what is returned points into it. */
enum prom_line prom_parse_line(char *line, struct prom_sample *ret_sample, struct prom_about *ret_about);

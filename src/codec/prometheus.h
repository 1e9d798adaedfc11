/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics in Prometheus' text format 0.0.4: made, read from strangers, put together, written.
 *
 * A set holds families (name, type, help) with their samples. What several sources say about one family ends up in one
 * place, as the format wants it. Reading is strict and bounded (PROM_*_MAX): names, labels and numbers are checked byte
 * by byte and written anew, so nothing of a stranger's text survives but what the format means; timestamps are dropped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"

#define PROM_TEXT_MAX     (1u << 20) /* bytes of one text */
#define PROM_SAMPLES_MAX  20000u     /* of one set */
#define PROM_FAMILIES_MAX 1000u
#define PROM_NAME_MAX     128u
#define PROM_LABELS_MAX   16u
#define PROM_VALUE_MAX    512u /* bytes of a label's value */
/* So many families and samples of a set are for prom_add(): strangers cannot take the place of what we say. */
#define PROM_OWN 64u

enum prom_type { PROM_UNTYPED, PROM_COUNTER, PROM_GAUGE, PROM_HISTOGRAM, PROM_SUMMARY };

struct prom;

/* NULL: no memory. */
struct prom *prom_new(void);
void prom_free(struct prom *p);
DEFINE_CLEANUP(struct prom *, prom_free)
#define _cleanup_prom_ _cleanup_(prom_free_p)

struct prom_label {
	const char *name, *value; /* value: any bytes; what cannot be in the format becomes '?' */
};

/*
 * Add a sample; the first one of a name makes the family. name, help and label names are our own literals. A failure
 * (memory, PROM_SAMPLES_MAX) is remembered: prom_write() then fails.
 */
void prom_add(struct prom *p, const char *name, enum prom_type type, const char *help, const struct prom_label *labels,
	      size_t n_labels, double value);

struct prom_read {
	/* Families whose names begin with one of these keep their names; NULL: all do. */
	const char *const *keep;
	const char *prefix;             /* is put in front of the others' names; NULL: nothing */
	const struct prom_label *label; /* is added to each sample, instead of one of that name; NULL: none */
	bool guest; /* from inside a guest: half of the bounds, the rest is for what its host knows */
};
/* All or nothing, but for a lack of memory. -EPROTO (e names the line), -EFBIG, -ENOMEM. how: may be NULL. */
int prom_read(struct prom *p, const char *text, size_t len, const struct prom_read *how, struct err *e);

/* Append the text. 0, -ENOMEM, or what prom_add() could not do. */
int prom_write(const struct prom *p, struct buf *out);

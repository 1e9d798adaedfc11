/* SPDX-License-Identifier: Apache-2.0 */
/* See prometheus.h. Samples are kept as the text that they will be. */
#include "codec/prometheus.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/prometheus_parser.h"

struct family {
	char *name, *help; /* help: escaped; "" */
	enum prom_type type;
	struct buf samples;
};

struct prom {
	struct family *v;
	size_t n, size, n_samples;
	struct family *last; /* the one that samples come for, usually */
	int failed;          /* negative errno of an addition */
};

static const char *const type_names[] = { "untyped", "counter", "gauge", "histogram", "summary" };

struct prom *prom_new(void)
{
	return calloc(1, sizeof(struct prom));
}

static void family_fini(struct family *f)
{
	free(f->name);
	free(f->help);
	buf_fini(&f->samples);
}

void prom_free(struct prom *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		family_fini(&p->v[i]);
	free(p->v);
	free(p);
}

static struct family *find(const struct prom *p, const char *name)
{
	if (p->last && str_eq(p->last->name, name))
		return p->last;
	for (size_t i = 0; i < p->n; i++)
		if (str_eq(p->v[i].name, name))
			return &p->v[i];
	return NULL;
}

/* The family of a name, made if need be. NULL with p->failed set. */
static struct family *family(struct prom *p, const char *name, enum prom_type type, const char *help)
{
	struct family *f = find(p, name);

	if (f)
		return p->last = f;
	p->failed = p->n >= PROM_FAMILIES_MAX ? -EFBIG : p->failed;
	if (p->failed)
		return NULL;
	if (p->n == p->size) {
		struct family *grown = realloc(p->v, (p->size * 2 + 16) * sizeof(*grown));

		if (!grown) {
			p->failed = -ENOMEM;
			return NULL;
		}
		p->v = grown;
		p->size = p->size * 2 + 16;
	}
	f = &p->v[p->n];
	*f = (struct family){ .name = strdup(name), .help = strdup(help ? help : ""), .type = type };
	if (!f->name || !f->help) {
		family_fini(f);
		p->failed = -ENOMEM;
		return NULL;
	}
	p->n++;
	return p->last = f;
}

/* ---- samples as text ---- */

static void append_number(struct buf *b, double value, int *r)
{
	if (isnan(value))
		*r |= buf_puts(b, "NaN");
	else if (isinf(value))
		*r |= buf_puts(b, value < 0 ? "-Inf" : "+Inf");
	else if (value == floor(value) && fabs(value) < 1e15)
		*r |= buf_printf(b, "%.0f", value);
	else
		*r |= buf_printf(b, "%.17g", value);
}

/* Escaped as label values are. */
static int append_value(struct buf *b, const char *value)
{
	size_t start = b->len;
	int r = 0;

	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			r |= buf_printf(b, "\\%c", *value);
		else if (*value == '\n')
			r |= buf_puts(b, "\\n");
		else if ((unsigned char)*value < ' ' || *value == 0x7f)
			r |= buf_puts(b, "?");
		else
			r |= buf_append(b, value, 1);
	}
	if (r == 0)
		utf8_repair(b->data + start);
	return r;
}

static void add_sample(struct prom *p, struct family *f, const char *name, const struct prom_label *labels, size_t n,
		       double value)
{
	struct buf *b = &f->samples;
	size_t before = b->len;
	int r = buf_puts(b, name);

	for (size_t i = 0; i < n; i++) {
		r |= buf_printf(b, "%s%s=\"", i ? "," : "{", labels[i].name);
		r |= append_value(b, labels[i].value ? labels[i].value : "");
		r |= buf_puts(b, "\"");
	}
	r |= buf_puts(b, n ? "} " : " ");
	append_number(b, value, &r);
	r |= buf_puts(b, "\n");
	if (r == 0 && p->n_samples++ < PROM_SAMPLES_MAX)
		return;
	b->len = before;
	p->failed = r ? -ENOMEM : -EFBIG;
}

void prom_add(struct prom *p, const char *name, enum prom_type type, const char *help, const struct prom_label *labels,
	      size_t n_labels, double value)
{
	struct family *f = p->failed ? NULL : family(p, name, type, help);

	if (f)
		add_sample(p, f, name, labels, n_labels, value);
}

int prom_write(const struct prom *p, struct buf *out)
{
	int r = 0;

	if (p->failed)
		return p->failed;
	for (size_t i = 0; i < p->n; i++) {
		const struct family *f = &p->v[i];

		if (!f->samples.len)
			continue;
		if (*f->help)
			r |= buf_printf(out, "# HELP %s %s\n", f->name, f->help);
		r |= buf_printf(out, "# TYPE %s %s\n", f->name, type_names[f->type]);
		r |= buf_append(out, f->samples.data, f->samples.len);
	}
	return r ? -ENOMEM : 0;
}

/* ---- what others wrote ---- */

static bool keeps_name(const char *name, const struct prom_read *how)
{
	if (!how || !how->prefix || !how->keep)
		return true;
	for (const char *const *k = how->keep; *k; k++)
		if (str_after(name, *k))
			return true;
	return false;
}

static void rename_to(char *out, size_t size, const char *name, const struct prom_read *how)
{
	snprintf(out, size, "%s%s", keeps_name(name, how) ? "" : how->prefix, name);
}

/* Histograms and summaries have samples with more behind the family's name. */
static bool belongs_to(const struct family *f, const char *sample)
{
	static const char *const more[] = { "_bucket", "_sum", "_count" };
	const char *rest = str_after(sample, f->name);

	if (!rest || !*rest)
		return rest != NULL;
	for (size_t i = f->type == PROM_HISTOGRAM ? 0 : 1; i < 3; i++)
		if (f->type >= PROM_HISTOGRAM && str_eq(rest, more[i]))
			return true;
	return false;
}

static int read_sample(struct prom *p, const struct prom_sample *s, const struct prom_read *how)
{
	struct prom_label labels[PROM_LABELS_MAX + 1];
	char name[2 * PROM_NAME_MAX];
	struct family *f = p->last;
	size_t n = 0;

	rename_to(name, sizeof(name), s->name, how);
	if (!f || !belongs_to(f, name))
		f = family(p, name, PROM_UNTYPED, NULL);
	if (!f)
		return p->failed;
	for (size_t i = 0; i < s->n_labels; i++)
		if (!how || !how->label || strcmp(s->labels[i].name, how->label->name) != 0)
			labels[n++] = (struct prom_label){ s->labels[i].name, s->labels[i].value };
	if (how && how->label)
		labels[n++] = *how->label;
	add_sample(p, f, name, labels, n, s->value);
	return p->failed;
}

/* "# TYPE" and "# HELP" make the family that the samples behind them are of. */
static int read_about(struct prom *p, const struct prom_about *a, const struct prom_read *how)
{
	char name[2 * PROM_NAME_MAX];
	struct family *f;
	bool fresh;

	rename_to(name, sizeof(name), a->name, how);
	f = family(p, name, PROM_UNTYPED, NULL);
	if (!f)
		return p->failed;
	fresh = !f->samples.len;
	if (a->help && !*f->help) {
		char *help = strdup(a->help);

		if (!help)
			return p->failed = -ENOMEM;
		free(f->help);
		f->help = help;
	} else if (!a->help && fresh) {
		f->type = a->type;
	}
	return 0;
}

static int read_line(struct prom *p, char *line, const struct prom_read *how)
{
	struct prom_sample s;
	struct prom_about a;

	switch (prom_parse_line(line, &s, &a)) {
	case PROM_LINE_NOTHING:
		return 0;
	case PROM_LINE_SAMPLE:
		return read_sample(p, &s, how);
	case PROM_LINE_ABOUT:
		return read_about(p, &a, how);
	default:
		return -EPROTO;
	}
}

/* Is there room for src? */
static bool fits(const struct prom *p, const struct prom *src, bool guest)
{
	size_t families = p->n, share = guest ? 2 : 1;

	for (size_t i = 0; i < src->n; i++)
		families += !find(p, src->v[i].name);
	return families <= PROM_FAMILIES_MAX - PROM_OWN &&
	       p->n_samples + src->n_samples <= PROM_SAMPLES_MAX - PROM_OWN && src->n <= PROM_FAMILIES_MAX / share &&
	       src->n_samples <= PROM_SAMPLES_MAX / share;
}

/* The samples of src go behind those of the same families. */
static int merge(struct prom *p, struct prom *src, bool guest)
{
	if (p->failed || !fits(p, src, guest))
		return p->failed ? p->failed : -EFBIG;
	for (size_t i = 0; i < src->n; i++) {
		struct family *from = &src->v[i], *to = family(p, from->name, from->type, from->help);

		if (!to)
			return p->failed;
		if (from->samples.len && buf_append(&to->samples, from->samples.data, from->samples.len) < 0)
			return p->failed = -ENOMEM;
	}
	p->n_samples += src->n_samples;
	return 0;
}

int prom_read(struct prom *p, const char *text, size_t len, const struct prom_read *how, struct err *e)
{
	_cleanup_free_ char *copy = NULL;
	_cleanup_prom_ struct prom *fresh = NULL;
	bool guest = how && how->guest;
	unsigned number = 0, max = guest ? PROM_TEXT_MAX / 2 : PROM_TEXT_MAX;
	char *rest, *line;
	int r = 0;

	if (len > max)
		return err_set(e, ERR_PROTOCOL, EFBIG, "metrics: more than %u bytes", max);
	if (len && memchr(text, '\0', len))
		return err_set(e, ERR_PROTOCOL, EPROTO, "metrics: a NUL byte");
	copy = strndup(text, len);
	fresh = prom_new();
	if (!copy || !fresh)
		return err_sys(e, ENOMEM, "metrics");
	rest = copy;
	while (r == 0 && (line = strsep(&rest, "\n"))) {
		number++;
		r = read_line(fresh, line, how);
	}
	if (r == -EPROTO)
		return err_set(e, ERR_PROTOCOL, EPROTO, "metrics: line %u is not in Prometheus' text format", number);
	if (r == 0)
		r = merge(p, fresh, guest);
	if (r == -EFBIG)
		return err_set(e, ERR_PROTOCOL, EFBIG, "metrics: there is no room for so many families or samples");
	return r < 0 ? err_sys(e, -r, "metrics") : 0;
}

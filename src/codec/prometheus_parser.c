/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   line    = sample / "# HELP " name " " text / "# TYPE " name " " type / "#" anything / ""
 *   sample  = name [ "{" [ label *( "," label ) [ "," ] ] "}" ] value [ timestamp ]
 *   label   = name "=" DQUOTE *( "\\" / "\"" / "\n" as escapes, any other character ) DQUOTE
 *
 * Blanks (spaces and tabs) may be between any two of these (Prometheus' exposition formats, text format 0.0.4).
 */
#include "codec/prometheus_parser.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/strv.h"

static char *skip_blanks(char *p)
{
	return p + strspn(p, " \t");
}

static bool is_name_byte(char c, bool first, bool colon)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':') ||
	       (!first && c >= '0' && c <= '9');
}

/* The name at *p, without its end marked yet; *p moves behind it. Its length, or 0. */
static size_t take_name(char **p, bool colon)
{
	size_t n = 0;

	while (is_name_byte((*p)[n], n == 0, colon))
		n++;
	*p += n;
	return n <= PROM_NAME_MAX ? n : 0;
}

/* The text in quotes at *p, unescaped in place; *p moves behind it. NULL: it is none. */
static char *take_quoted(char **p)
{
	char *s = *p, *start, *to;

	if (*s++ != '"')
		return NULL;
	for (start = to = s; *s != '"'; s++) {
		if (*s == '\\' && s[1] == 'n')
			*to++ = '\n', s++;
		else if (*s == '\\' && (s[1] == '\\' || s[1] == '"'))
			*to++ = *++s;
		else if (*s == '\\' || (unsigned char)*s < ' ' || *s == 0x7f)
			return NULL;
		else
			*to++ = *s;
	}
	*to = '\0';
	*p = s + 1;
	if ((size_t)(to - start) > PROM_VALUE_MAX)
		return NULL;
	for (char *at = start; at < to;) {
		size_t n = utf8_length(at, (size_t)(to - at));

		if (!n)
			return NULL;
		at += n;
	}
	return start;
}

static bool take_label(char **p, struct prom_sample *s)
{
	char *name = *p, *value;
	size_t n = take_name(p, false);

	if (!n || s->n_labels == PROM_LABELS_MAX)
		return false;
	*p = skip_blanks(*p);
	if (**p != '=')
		return false;
	*p = skip_blanks(*p + 1);
	value = take_quoted(p);
	if (!value)
		return false;
	name[n] = '\0';
	for (size_t i = 0; i < s->n_labels; i++)
		if (str_eq(s->labels[i].name, name))
			return false;
	s->labels[s->n_labels].name = name;
	s->labels[s->n_labels++].value = value;
	return true;
}

/* Behind "{". */
static bool take_labels(char **p, struct prom_sample *s)
{
	for (*p = skip_blanks(*p); **p != '}'; *p = skip_blanks(*p)) {
		if (!take_label(p, s))
			return false;
		*p = skip_blanks(*p);
		if (**p == ',')
			++*p;
		else if (**p != '}')
			return false;
	}
	++*p;
	return true;
}

static bool parse_number(const char *s, double *ret)
{
	char *end;

	if (str_eq(s, "NaN") || str_eq(s, "+Inf") || str_eq(s, "-Inf") || str_eq(s, "Inf")) {
		*ret = strtod(s, NULL);
		return true;
	}
	/* No hexadecimal numbers, no "infinity" and no blanks, which strtod() knows. */
	if (!*s || s[strspn(s, "0123456789.eE+-")])
		return false;
	*ret = strtod(s, &end);
	return !*end;
}

static enum prom_line parse_sample(char *p, struct prom_sample *s)
{
	char *number, *rest;
	size_t n;

	*s = (struct prom_sample){ .name = p };
	n = take_name(&p, true);
	if (!n || (*p != '{' && *p != ' ' && *p != '\t'))
		return PROM_LINE_BAD;
	p = skip_blanks(p);
	if (*p == '{') {
		p++;
		if (!take_labels(&p, s))
			return PROM_LINE_BAD;
	}
	s->name[n] = '\0';
	rest = skip_blanks(p);
	number = strsep(&rest, " \t");
	if (!parse_number(number, &s->value))
		return PROM_LINE_BAD;
	/* a timestamp in milliseconds */
	rest = rest ? skip_blanks(rest) : rest;
	if (rest && *rest == '-')
		rest++;
	if (rest && rest[strspn(rest, "0123456789")] && *skip_blanks(rest + strspn(rest, "0123456789")))
		return PROM_LINE_BAD;
	return PROM_LINE_SAMPLE;
}

static bool is_printable(const char *s)
{
	for (size_t n; *s; s += n)
		if (!(n = utf8_length(s, strlen(s))) || ((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
			return false;
	return true;
}

/* Behind "# TYPE " or "# HELP ". */
static enum prom_line parse_about(char *p, bool type, struct prom_about *a)
{
	static const char *const types[] = { "untyped", "counter", "gauge", "histogram", "summary" };
	char *rest;
	size_t n;

	p = skip_blanks(p);
	*a = (struct prom_about){ .name = p };
	n = take_name(&p, true);
	if (!n || (*p && *p != ' ' && *p != '\t'))
		return PROM_LINE_BAD;
	rest = *p ? skip_blanks(p) : p;
	a->name[n] = '\0';
	if (!type) {
		a->help = rest;
		return strlen(rest) <= PROM_VALUE_MAX && is_printable(rest) ? PROM_LINE_ABOUT : PROM_LINE_BAD;
	}
	rest[strcspn(rest, " \t")] = '\0';
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (str_eq(rest, types[i])) {
			a->type = (enum prom_type)i;
			return PROM_LINE_ABOUT;
		}
	return PROM_LINE_BAD;
}

enum prom_line prom_parse_line(char *line, struct prom_sample *ret_sample, struct prom_about *ret_about)
{
	char *p = skip_blanks(line);
	bool type;

	if (!*p)
		return PROM_LINE_NOTHING;
	if (*p != '#')
		return parse_sample(p, ret_sample);
	p = skip_blanks(p + 1);
	type = !strncmp(p, "TYPE", 4);
	if ((type || !strncmp(p, "HELP", 4)) && (p[4] == ' ' || p[4] == '\t'))
		return parse_about(p + 4, type, ret_about);
	return PROM_LINE_NOTHING;
}

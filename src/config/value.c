/* SPDX-License-Identifier: Apache-2.0 */
/* Values: from TOML and from text, checked against the key table, into and out of struct config. */
#include "config/value.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGEX_LEN_MAX 256
#define LIST_LEN_MAX  1024

void config_value_fini(struct config_value *v)
{
	if (v->type == CONFIG_STR)
		free(v->u.string);
	else if (v->type == CONFIG_LIST)
		strv_fini(&v->u.list);
	*v = (struct config_value){ 0 };
}

static int no(struct buf *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int no(struct buf *why, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = buf_vprintf(why, fmt, ap);
	va_end(ap);
	return r < 0 ? r : -EINVAL;
}

/* ---- checks ---- */

static bool in_alternatives(const char *alternatives, const char *s)
{
	size_t n = strlen(s);

	for (const char *p = alternatives;; p++) {
		size_t len = strcspn(p, "|");

		if (len == n && !memcmp(p, s, n))
			return true;
		p += len;
		if (!*p)
			return false;
	}
}

/* "a|b|c" as "one of "a", "b", "c"". */
static int tell_alternatives(const char *alternatives, const char *s, struct buf *why)
{
	const char *comma = "";
	int r = buf_printf(why, "\"%.100s\" is not one of ", s);

	for (const char *p = alternatives;; p++) {
		size_t len = strcspn(p, "|");

		r = r < 0 ? r : buf_printf(why, "%s\"%.*s\"", comma, (int)len, p);
		comma = ", ";
		p += len;
		if (!*p)
			return r < 0 ? r : -EINVAL;
	}
}

static int check_range(const char *check, double v, uint64_t integer, bool is_integer, struct buf *why)
{
	const char *range = str_after(check, "pow2 ");
	bool pow2 = range != NULL;
	double min, max;
	char *end;

	range = range ? range : check;
	min = (double)strtoull(range, &end, 10);
	max = (double)strtoull(end + 2, NULL, 10);
	if (pow2 && is_integer) {
		if (integer == 0 || (v >= min && v <= max && !(integer & (integer - 1))))
			return 0;
		return no(why, "%" PRIu64 " is neither 0 nor a power of two from %.0f to %.0f", integer, min, max);
	}
	if (v >= min && v <= max)
		return 0;
	return no(why, "%.15g is not from %.0f to %.0f", v, min, max);
}

static int check_regex(const struct strv *list, struct buf *why)
{
	for (size_t i = 0; i < list->len; i++) {
		regex_t re;

		if (strlen(list->v[i]) > REGEX_LEN_MAX)
			return no(why, "a regular expression has more than %d characters", REGEX_LEN_MAX);
		if (regcomp(&re, list->v[i], REG_EXTENDED | REG_NOSUB))
			return no(why, "\"%.100s\" is not an extended regular expression (regex(7))", list->v[i]);
		regfree(&re);
	}
	return 0;
}

static int check(const struct config_key *key, const struct config_value *v, struct buf *why)
{
	if (key->type == CONFIG_U32 && v->u.integer > UINT32_MAX)
		return no(why, "%" PRIu64 " is larger than %" PRIu32, v->u.integer, UINT32_MAX);
	if (key->type == CONFIG_F64 && !isfinite(v->u.number))
		return no(why, "expected a finite number");
	if (!key->check)
		return 0;
	switch (key->type) {
	case CONFIG_U32:
	case CONFIG_U64:
		return check_range(key->check, (double)v->u.integer, v->u.integer, true, why);
	case CONFIG_F64:
		return check_range(key->check, v->u.number, 0, false, why);
	case CONFIG_STR:
		return in_alternatives(key->check, v->u.string) ? 0 : tell_alternatives(key->check, v->u.string, why);
	case CONFIG_LIST:
		return check_regex(&v->u.list, why);
	default:
		return 0;
	}
}

/* ---- from TOML ---- */

static const char *const wanted[] = {
	[CONFIG_BOOL] = "a boolean (true or false)",
	[CONFIG_U32] = "an integer from 0",
	[CONFIG_U64] = "an integer from 0",
	[CONFIG_F64] = "a number",
	[CONFIG_STR] = "a string",
	[CONFIG_LIST] = "an array of strings",
};

static int mismatch(const struct config_key *key, const struct toml_value *v, struct buf *why)
{
	if (v->type == TOML_INTEGER)
		return no(why, "expected %s, found %" PRId64, wanted[key->type], v->u.integer);
	return no(why, "expected %s, found %s", wanted[key->type], toml_type_name(v->type));
}

static int string_from_toml(const struct toml_value *v, char **ret, struct buf *why)
{
	if (strlen(v->u.string.data) != v->u.string.len)
		return no(why, "the string has a NUL character in it");
	*ret = strdup(v->u.string.data);
	return *ret ? 0 : -ENOMEM;
}

static int list_from_toml(const struct config_key *key, const struct toml_value *v, struct strv *ret, struct buf *why)
{
	if (v->u.array.len > LIST_LEN_MAX)
		return no(why, "more than %d entries", LIST_LEN_MAX);
	for (size_t i = 0; i < v->u.array.len; i++) {
		const struct toml_value *item = v->u.array.items[i];
		char *s = NULL;
		int r;

		if (item->type != TOML_STRING)
			return no(why, "expected %s, found %s in it", wanted[key->type], toml_type_name(item->type));
		r = string_from_toml(item, &s, why);
		r = r < 0 ? r : strv_add_take(ret, s);
		if (r < 0)
			return r;
	}
	return 0;
}

int config_value_from_toml(const struct config_key *key, const struct toml_value *v, unsigned scale,
			   struct config_value *ret, struct buf *why)
{
	static const enum toml_type natural[] = {
		[CONFIG_BOOL] = TOML_BOOL, [CONFIG_U32] = TOML_INTEGER, [CONFIG_U64] = TOML_INTEGER,
		[CONFIG_F64] = TOML_FLOAT, [CONFIG_STR] = TOML_STRING,  [CONFIG_LIST] = TOML_ARRAY,
	};
	_cleanup_value_ struct config_value value = { .type = key->type };
	int r = 0;

	if (key->type == CONFIG_F64 && v->type == TOML_INTEGER)
		value.u.number = (double)v->u.integer;
	else if (v->type != natural[key->type] || (v->type == TOML_INTEGER && v->u.integer < 0))
		r = mismatch(key, v, why);
	else if (key->type == CONFIG_BOOL)
		value.u.boolean = v->u.boolean;
	else if (key->type == CONFIG_F64)
		value.u.number = v->u.number;
	else if (key->type == CONFIG_STR)
		r = string_from_toml(v, &value.u.string, why);
	else if (key->type == CONFIG_LIST)
		r = list_from_toml(key, v, &value.u.list, why);
	else if (__builtin_mul_overflow((uint64_t)v->u.integer, (uint64_t)scale, &value.u.integer))
		r = no(why, "the number is too large");
	r = r < 0 ? r : check(key, &value, why);
	if (r < 0)
		return r;
	*ret = value;
	value = (struct config_value){ 0 };
	return 0;
}

/* ---- from text: defaults, annotations, flags ---- */

/* ["a", "b"] as TOML (and so JSON) writes it, or items between separators. */
static int list_from_text(const struct config_key *key, const char *text, struct strv *ret, struct buf *why)
{
	/* A kernel module has parameters, so Kata separates modules by semicolons. */
	const char *separator = !strcmp(key->name, "kernel_modules") ? ";" : ",";

	if (*text == '[') {
		_cleanup_free_ char *doc = str_printf("v = %s", text);
		_cleanup_toml_ struct toml_value *root = NULL;
		const struct toml_value *v;

		if (!doc)
			return -ENOMEM;
		if (toml_parse(doc, strlen(doc), "", &root, NULL) == 0 && root->u.table.len == 1) {
			v = toml_get(root, "v");
			if (v && v->type == TOML_ARRAY)
				return list_from_toml(key, v, ret, why);
		}
		return no(why, "expected a list like [\"a\", \"b\"] or a%sb", separator);
	}
	while (*text) {
		size_t n = strcspn(text, separator), skip;
		int r;

		skip = strspn(text, " ");
		if (skip < n) {
			r = strv_addf(ret, "%.*s", (int)(n - skip), text + skip);
			if (r < 0)
				return r;
		}
		text += n + (text[n] != '\0');
	}
	return 0;
}

static int bool_from_text(const char *text, bool *ret, struct buf *why)
{
	static const char *const yes[] = { "true", "1", "t", "T", "True", "TRUE" };
	static const char *const nope[] = { "false", "0", "f", "F", "False", "FALSE" };

	for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
		*ret = !strcmp(text, yes[i]);
		if (*ret || !strcmp(text, nope[i]))
			return 0;
	}
	return no(why, "expected true or false, found \"%.100s\"", text);
}

int config_value_from_text(const struct config_key *key, const char *text, unsigned scale, struct config_value *ret,
			   struct buf *why)
{
	_cleanup_value_ struct config_value value = { .type = key->type };
	char *end;
	int r = 0;

	switch (key->type) {
	case CONFIG_BOOL:
		r = bool_from_text(text, &value.u.boolean, why);
		break;
	case CONFIG_U32:
	case CONFIG_U64:
		r = str_to_u64(text, 10, &value.u.integer);
		if (r < 0 || __builtin_mul_overflow(value.u.integer, (uint64_t)scale, &value.u.integer))
			r = no(why, "expected an integer from 0, found \"%.100s\"", text);
		break;
	case CONFIG_F64:
		value.u.number = strtod(text, &end);
		if (end == text || *end)
			r = no(why, "expected a number, found \"%.100s\"", text);
		break;
	case CONFIG_STR:
		value.u.string = strdup(text);
		r = value.u.string ? 0 : -ENOMEM;
		break;
	case CONFIG_LIST:
		r = list_from_text(key, text, &value.u.list, why);
		break;
	case CONFIG_OPAQUE:
		r = no(why, "this key cannot be set here");
		break;
	}
	r = r < 0 ? r : check(key, &value, why);
	if (r < 0)
		return r;
	*ret = value;
	value = (struct config_value){ 0 };
	return 0;
}

/* ---- to text ---- */

bool config_value_equal(const struct config_value *a, const struct config_value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case CONFIG_BOOL:
		return a->u.boolean == b->u.boolean;
	case CONFIG_U32:
	case CONFIG_U64:
		return a->u.integer == b->u.integer;
	case CONFIG_F64:
		return a->u.number == b->u.number;
	case CONFIG_STR:
		return !strcmp(a->u.string, b->u.string);
	case CONFIG_LIST:
		if (a->u.list.len != b->u.list.len)
			return false;
		for (size_t i = 0; i < a->u.list.len; i++)
			if (strcmp(a->u.list.v[i], b->u.list.v[i]))
				return false;
		return true;
	default:
		return true;
	}
}

static int format_string(const char *s, struct buf *out)
{
	int r = buf_puts(out, "\"");

	for (; *s && r >= 0; s++) {
		if (*s == '"' || *s == '\\')
			r = buf_printf(out, "\\%c", *s);
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			r = buf_printf(out, "\\u%04x", (unsigned)(unsigned char)*s);
		else
			r = buf_append(out, s, 1);
	}
	return r < 0 ? r : buf_puts(out, "\"");
}

int config_value_format(const struct config_value *v, struct buf *out)
{
	int r;

	switch (v->type) {
	case CONFIG_BOOL:
		return buf_puts(out, v->u.boolean ? "true" : "false");
	case CONFIG_U32:
	case CONFIG_U64:
		return buf_printf(out, "%" PRIu64, v->u.integer);
	case CONFIG_F64:
		return buf_printf(out, "%.15g", v->u.number);
	case CONFIG_STR:
		return format_string(v->u.string, out);
	case CONFIG_LIST:
		r = buf_puts(out, "[");
		for (size_t i = 0; i < v->u.list.len && r >= 0; i++) {
			r = buf_puts(out, i ? ", " : "");
			r = r < 0 ? r : format_string(v->u.list.v[i], out);
		}
		return r < 0 ? r : buf_puts(out, "]");
	default:
		return 0;
	}
}

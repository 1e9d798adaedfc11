/* SPDX-License-Identifier: Apache-2.0 */
/* The other direction of body.c: structures as JSON, members in table order. */
#include <stdio.h>

#include "vmm/body.h"

int body_print_string(struct buf *out, const char *text)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	int r = buf_puts(out, "\"");

	for (; *text && r == 0; text++) {
		unsigned char c = (unsigned char)*text;
		const char *p = strchr(from, c);

		if (p)
			r = buf_printf(out, "\\%c", to[p - from]);
		else if (c < 0x20)
			r = buf_printf(out, "\\u%04x", c);
		else
			r = buf_append(out, text, 1);
	}
	return r < 0 ? r : buf_puts(out, "\"");
}

static int print_list(const struct body_field *f, const struct body_list *list, struct buf *out)
{
	int r = buf_puts(out, "[");

	for (size_t i = 0; i < list->len && r == 0; i++) {
		if (i)
			r = buf_puts(out, ",");
		if (r == 0)
			r = body_print(f->table, body_list_at(f->table, list, i), out);
	}
	return r < 0 ? r : buf_puts(out, "]");
}

static int print_map(const struct strv *map, struct buf *out)
{
	int r = buf_puts(out, "{");

	for (size_t i = 0; i < map->len && r == 0; i++) {
		if (i)
			r = buf_puts(out, i % 2 ? ":" : ",");
		if (r == 0)
			r = body_print_string(out, map->v[i]);
	}
	return r < 0 ? r : buf_puts(out, "}");
}

static int print_value(const struct body_field *f, const void *at, struct buf *out)
{
	switch (f->type) {
	case BODY_BOOL:
		return buf_puts(out, *(const bool *)at ? "true" : "false");
	case BODY_U8:
	case BODY_U16:
	case BODY_U32:
	case BODY_U64:
	case BODY_USIZE:
		return buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)at);
	case BODY_STRING:
	case BODY_PATH:
		return body_print_string(out, *(char *const *)at ? *(char *const *)at : "");
	case BODY_ENUM:
		return body_print_string(out, f->variants[*(const unsigned *)at]);
	case BODY_OBJECT:
		return body_print(f->table, at, out);
	case BODY_LIST:
		return print_list(f, at, out);
	case BODY_MAP:
		return print_map(at, out);
	case BODY_ANY:
		break;
	}
	return buf_puts(out, "null");
}

static bool is_given(const struct body_field *f, const void *target)
{
	if (f->need < BODY_OPTIONAL)
		return true;
	if (f->has)
		return *(const bool *)((const char *)target + f->has);
	if (f->type == BODY_STRING || f->type == BODY_PATH)
		return *(char *const *)((const char *)target + f->at) != NULL;
	return f->type != BODY_ANY;
}

int body_print(const struct body_table *table, const void *target, struct buf *out)
{
	int r = buf_puts(out, "{");
	bool first = true;

	for (size_t i = 0; i < table->n_fields && r == 0; i++) {
		const struct body_field *f = &table->fields[i];
		bool given = is_given(f, target);

		if (!given && f->need == BODY_SILENT)
			continue;
		r = buf_printf(out, "%s\"%s\":", first ? "" : ",", f->name);
		first = false;
		if (r == 0)
			r = given ? print_value(f, (const char *)target + f->at, out) : buf_puts(out, "null");
	}
	return r < 0 ? r : buf_puts(out, "}");
}

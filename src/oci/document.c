/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/document.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static void place_of(const char *text, size_t end, size_t *line, size_t *column)
{
	*line = 1;
	*column = 1;
	for (size_t i = 0; i < end; i++)
		if (text[i] == '\n') {
			++*line;
			*column = 1;
		} else {
			++*column;
		}
}

static bool only_space(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isspace((unsigned char)text[i]))
			return false;
	return true;
}

int document_parse(const char *text, size_t len, const char *origin, struct json_object **ret, struct err *e)
{
	_cleanup_json_ struct json_object *o = NULL;
	struct json_tokener *t;
	enum json_tokener_error code;
	size_t end, line, column;

	if (len > DOCUMENT_MAX)
		return err_set(e, ERR_LIMIT, EFBIG, "%s: larger than %u MiB", origin, DOCUMENT_MAX >> 20);
	if (only_space(text, len))
		return err_set(e, ERR_CONFIG, EINVAL, "%s: empty; expected a JSON object", origin);
	t = json_tokener_new_ex(DOCUMENT_DEPTH);
	if (!t)
		return err_set(e, ERR_SYSTEM, ENOMEM, "%s: out of memory", origin);
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8 | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	o = json_tokener_parse_ex(t, text, (int)len);
	code = json_tokener_get_error(t);
	end = json_tokener_get_parse_end(t);
	json_tokener_free(t);
	if (end > len)
		end = len;
	place_of(text, end, &line, &column);
	if (code == json_tokener_continue)
		return err_set(e, ERR_CONFIG, EINVAL, "%s:%zu:%zu: the JSON text ends too early", origin, line, column);
	if (code != json_tokener_success)
		return err_set(e, ERR_CONFIG, EINVAL, "%s:%zu:%zu: not JSON: %s", origin, line, column,
			       json_tokener_error_desc(code));
	if (!only_space(text + end, len - end))
		return err_set(e, ERR_CONFIG, EINVAL, "%s:%zu:%zu: text behind the JSON object", origin, line, column);
	if (!json_object_is_type(o, json_type_object) && !json_object_is_type(o, json_type_array))
		return err_set(e, ERR_CONFIG, EINVAL, "%s: expected a JSON object", origin);
	*ret = take_ptr(o);
	return 0;
}

struct json_object *document_get(struct json_object *o, const char *key, enum json_type type)
{
	struct json_object *v;

	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, key, &v))
		return NULL;
	return v && json_object_is_type(v, type) ? v : NULL;
}

static const char *plain_string(struct json_object *v)
{
	const char *s;

	if (!v || !json_object_is_type(v, json_type_string))
		return NULL;
	s = json_object_get_string(v);
	return strlen(s) == (size_t)json_object_get_string_len(v) ? s : NULL;
}

const char *document_string(struct json_object *o, const char *key)
{
	return plain_string(document_get(o, key, json_type_string));
}

const char *document_item(struct json_object *array, size_t i)
{
	return plain_string(json_object_array_get_idx(array, i));
}

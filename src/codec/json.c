/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/json.h"

#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <string.h>

#include "base/fd.h"

int json_parse(const char *text, size_t len, size_t max, struct json_object **ret, struct err *e)
{
	struct json_tokener *t;
	struct json_object *o;
	enum json_tokener_error status;
	size_t end;

	if (len > max || len > INT_MAX)
		return err_set(e, ERR_LIMIT, EFBIG, "JSON text of %zu bytes is larger than the %zu allowed", len, max);
	t = json_tokener_new_ex(JSON_DEPTH_MAX);
	if (!t)
		return err_sys(e, ENOMEM, "cannot parse JSON");
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(t, text, (int)len);
	status = json_tokener_get_error(t);
	end = json_tokener_get_parse_end(t);
	if (status == json_tokener_continue) {
		/* A number at the top level ends only with the text: tell the parser that nothing follows. */
		o = json_tokener_parse_ex(t, "", 1);
		status = json_tokener_get_error(t);
		end = len;
	}
	json_tokener_free(t);
	if (status == json_tokener_continue)
		return err_set(e, ERR_PROTOCOL, EBADMSG, "JSON text ends too early");
	if (status != json_tokener_success)
		return err_set(e, ERR_PROTOCOL, EBADMSG, "JSON text is wrong at byte %zu: %s", end,
			       json_tokener_error_desc(status));
	while (end < len && strchr(" \t\r\n", text[end]) && text[end])
		end++;
	if (end < len || !o) {
		json_free(o);
		return err_set(e, ERR_PROTOCOL, EBADMSG, "JSON text is wrong at byte %zu: %s", end,
			       o ? "something follows the value" : "null");
	}
	*ret = o;
	return 0;
}

int json_parse_file(const char *path, size_t max, struct json_object **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(path, max, &text, &len);

	if (r < 0)
		return err_sys(e, -r, "cannot read %s", path);
	r = json_parse(text, len, max, ret, e);
	if (r < 0)
		err_wrap(e, "%s", path);
	return r;
}

void json_free(struct json_object *o)
{
	json_object_put(o);
}

struct json_object *json_ref(struct json_object *o)
{
	return json_object_get(o);
}

bool json_is_object(const struct json_object *o)
{
	return o && json_object_is_type(o, json_type_object);
}

bool json_is_array(const struct json_object *o)
{
	return o && json_object_is_type(o, json_type_array);
}

struct json_object *json_get(const struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (!json_is_object(o) || !json_object_object_get_ex(o, key, &v))
		return NULL;
	return v;
}

struct json_object *json_get_object(const struct json_object *o, const char *key)
{
	struct json_object *v = json_get(o, key);

	return json_is_object(v) ? v : NULL;
}

struct json_object *json_get_array(const struct json_object *o, const char *key)
{
	struct json_object *v = json_get(o, key);

	return json_is_array(v) ? v : NULL;
}

const char *json_get_str(const struct json_object *o, const char *key)
{
	return json_str(json_get(o, key));
}

const char *json_str(const struct json_object *o)
{
	const char *s;

	if (!o || !json_object_is_type(o, json_type_string))
		return NULL;
	/* The string belongs to the object; json-c's const-lessness is a matter of its cache only. */
	s = json_object_get_string((struct json_object *)(uintptr_t)o);
	return s && strlen(s) == (size_t)json_object_get_string_len(o) ? s : NULL;
}

int json_u64(const struct json_object *o, uint64_t *ret)
{
	if (!o)
		return -ENOENT;
	if (!json_object_is_type(o, json_type_int))
		return -EINVAL;
	if (json_object_get_int64(o) < 0)
		return -ERANGE;
	*ret = json_object_get_uint64(o);
	return 0;
}

int json_get_u64(const struct json_object *o, const char *key, uint64_t *ret)
{
	return json_u64(json_get(o, key), ret);
}

int json_get_i64(const struct json_object *o, const char *key, int64_t *ret)
{
	struct json_object *v = json_get(o, key);

	if (!v)
		return -ENOENT;
	if (!json_object_is_type(v, json_type_int))
		return -EINVAL;
	if (json_object_get_int64(v) == INT64_MAX && json_object_get_uint64(v) > INT64_MAX)
		return -ERANGE;
	*ret = json_object_get_int64(v);
	return 0;
}

int json_get_bool(const struct json_object *o, const char *key, bool *ret)
{
	struct json_object *v = json_get(o, key);

	if (!v)
		return -ENOENT;
	if (!json_object_is_type(v, json_type_boolean))
		return -EINVAL;
	*ret = json_object_get_boolean(v);
	return 0;
}

int json_get_double(const struct json_object *o, const char *key, double *ret)
{
	struct json_object *v = json_get(o, key);
	double x;

	if (!v)
		return -ENOENT;
	if (!json_object_is_type(v, json_type_double) && !json_object_is_type(v, json_type_int))
		return -EINVAL;
	x = json_object_get_double(v);
	if (x != x || x - x != 0) /* NaN, infinities */
		return -EINVAL;
	*ret = x;
	return 0;
}

size_t json_array_len(const struct json_object *array)
{
	return json_is_array(array) ? json_object_array_length(array) : 0;
}

struct json_object *json_array_at(const struct json_object *array, size_t i)
{
	return i < json_array_len(array) ? json_object_array_get_idx(array, i) : NULL;
}

int json_each(const struct json_object *o, json_member_fn fn, void *userdata)
{
	if (!json_is_object(o))
		return 0;
	json_object_object_foreach(o, key, value)
	{
		int r = fn(key, value, userdata);

		if (r)
			return r;
	}
	return 0;
}

struct json_object *json_object_make(void)
{
	return json_object_new_object();
}

struct json_object *json_array_make(void)
{
	return json_object_new_array();
}

/* A broken object is marked in its userdata, so that a later json_write() fails instead of losing a member. */
static char broken_mark;

static int mark_broken(struct json_object *o)
{
	if (o)
		json_object_set_userdata(o, &broken_mark, NULL);
	return -ENOMEM;
}

static bool is_broken(struct json_object *o)
{
	return !o || json_object_get_userdata(o) == &broken_mark;
}

int json_set(struct json_object *o, const char *key, struct json_object *child)
{
	if (is_broken(child) || is_broken(o) || json_object_object_add(o, key, child) < 0) {
		json_object_put(child);
		return mark_broken(o);
	}
	return 0;
}

int json_set_str(struct json_object *o, const char *key, const char *value)
{
	return json_set(o, key, json_object_new_string(value));
}

int json_set_u64(struct json_object *o, const char *key, uint64_t value)
{
	return json_set(o, key, json_object_new_uint64(value));
}

int json_set_bool(struct json_object *o, const char *key, bool value)
{
	return json_set(o, key, json_object_new_boolean(value));
}

int json_add(struct json_object *array, struct json_object *child)
{
	if (is_broken(child) || is_broken(array) || json_object_array_add(array, child) < 0) {
		json_object_put(child);
		return mark_broken(array);
	}
	return 0;
}

int json_add_str(struct json_object *array, const char *value)
{
	return json_add(array, json_object_new_string(value));
}

char *json_write(struct json_object *o, bool pretty)
{
	const char *text;

	if (is_broken(o))
		return NULL;
	text = json_object_to_json_string_ext(
		o, JSON_C_TO_STRING_NOSLASHESCAPE |
			   (pretty ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED : JSON_C_TO_STRING_PLAIN));
	return text ? strdup(text) : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* OCI runtime spec 1.2, config.md: root, mounts, hooks and the whole document. */
#include "oci/spec.h"

#include <errno.h>

#include "base/fd.h"
#include "oci/document.h"
#include "oci/schema.h"

static const char *check_version(const char *s)
{
	return str_after(s, "1.") && s[2] >= '0' && s[2] <= '9' ? NULL : "a version from 1.0 to 1.2";
}

static const char *check_hostname(const char *s)
{
	return strlen(s) <= 64 ? NULL : "at most 64 bytes (sethostname(2))";
}

static const struct schema root = {
	&grpc__root__descriptor,
	(const struct schema_field[]){
		{ "path", "Path", SCHEMA_REQUIRED | SCHEMA_NONEMPTY },
		{ "readonly", "Readonly" },
		{ NULL },
	},
};

static int check_mount(const struct schema_ctx *c, const struct schema_path *p, ProtobufCMessage *m,
		       struct json_object *o)
{
	Grpc__Mount *mount = (Grpc__Mount *)m;
	char *fixed;

	/* config.md "Mounts": "SHOULD be an absolute path"; runtimes take a relative one as relative to "/". */
	if (mount->destination[0] == '/')
		return 0;
	fixed = str_printf("/%s", mount->destination);
	if (!fixed)
		return err_set(c->err, ERR_SYSTEM, ENOMEM, "%s: out of memory", c->origin);
	free(mount->destination);
	mount->destination = fixed;
	return 0;
}

static const struct schema mount = {
	&grpc__mount__descriptor,
	(const struct schema_field[]){
		{ "destination", "destination", SCHEMA_REQUIRED | SCHEMA_NONEMPTY },
		{ "source", "source" },
		{ "type", "type" },
		{ "options", "options" },
		{ "uidMappings", NULL },
		{ "gidMappings", NULL },
		{ NULL },
	},
	check_mount,
};

static int check_hook(const struct schema_ctx *c, const struct schema_path *p, ProtobufCMessage *m,
		      struct json_object *o)
{
	struct schema_path here = { .up = p, .key = "timeout" };
	struct json_object *v;

	if (json_object_object_get_ex(o, "timeout", &v) && v && ((Grpc__Hook *)m)->timeout <= 0)
		return schema_fail(c, &here, "expected more than 0 seconds");
	return 0;
}

static const struct schema hook = {
	&grpc__hook__descriptor,
	(const struct schema_field[]){
		{ "path", "Path", SCHEMA_REQUIRED | SCHEMA_ABSOLUTE },
		{ "args", "Args" },
		{ "env", "Env" },
		{ "timeout", "Timeout" },
		{ NULL },
	},
	check_hook,
};

static const struct schema hooks = {
	&grpc__hooks__descriptor,
	(const struct schema_field[]){
		{ "prestart", "Prestart", .sub = &hook },
		{ "createRuntime", "CreateRuntime", .sub = &hook },
		{ "createContainer", "CreateContainer", .sub = &hook },
		{ "startContainer", "StartContainer", .sub = &hook },
		{ "poststart", "Poststart", .sub = &hook },
		{ "poststop", "Poststop", .sub = &hook },
		{ NULL },
	},
};

static const struct schema whole = {
	&grpc__spec__descriptor,
	(const struct schema_field[]){
		{ "ociVersion", "Version", SCHEMA_REQUIRED, .check = check_version },
		{ "process", "Process", .sub = &schema_process },
		{ "root", "Root", SCHEMA_REQUIRED, .sub = &root },
		{ "hostname", "Hostname", .check = check_hostname },
		{ "mounts", "Mounts", .sub = &mount },
		{ "hooks", "Hooks", .sub = &hooks },
		{ "annotations", "Annotations", SCHEMA_MAP },
		{ "linux", "Linux", .sub = &schema_linux },
		{ "domainname", NULL },
		{ "solaris", NULL },
		{ "windows", NULL },
		{ "vm", NULL },
		{ "zos", NULL },
		{ "freebsd", NULL },
		{ NULL },
	},
};

static int parse(const struct schema *s, const char *text, size_t len, const char *origin, ProtobufCMessage **ret,
		 struct strv *warnings, struct err *e)
{
	_cleanup_json_ struct json_object *o = NULL;
	struct schema_ctx c = { .origin = origin, .warnings = warnings, .err = e };
	int r = document_parse(text, len, origin, &o, e);

	return r < 0 ? r : schema_read(s, &c, NULL, o, ret);
}

#define PARSE(schema)                                                                                                  \
	({                                                                                                             \
		ProtobufCMessage *m_;                                                                                  \
		int r_ = parse(schema, text, len, origin, &m_, warnings, e);                                           \
		if (r_ == 0)                                                                                           \
			*ret = (void *)m_;                                                                             \
		r_;                                                                                                    \
	})

int oci_spec_parse(const char *text, size_t len, const char *origin, Grpc__Spec **ret, struct strv *warnings,
		   struct err *e)
{
	return PARSE(&whole);
}

int oci_spec_parse_process(const char *text, size_t len, const char *origin, Grpc__Process **ret, struct strv *warnings,
			   struct err *e)
{
	return PARSE(&schema_process);
}

int oci_resources_parse(const char *text, size_t len, const char *origin, Grpc__LinuxResources **ret,
			struct strv *warnings, struct err *e)
{
	return PARSE(&schema_resources);
}

int oci_spec_from_json(struct json_object *o, const char *origin, Grpc__Spec **ret, struct strv *warnings,
		       struct err *e)
{
	struct schema_ctx c = { .origin = origin, .warnings = warnings, .err = e };
	ProtobufCMessage *m;
	int r = schema_read(&whole, &c, NULL, o, &m);

	if (r == 0)
		*ret = (Grpc__Spec *)m;
	return r;
}

int oci_spec_load(const char *bundle, Grpc__Spec **ret, struct strv *warnings, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/config.json", bundle), *text = NULL;
	size_t len;
	int r;

	if (!path)
		return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	r = file_read(path, DOCUMENT_MAX, &text, &len);
	if (r == -EFBIG)
		return err_set(e, ERR_LIMIT, EFBIG, "%s: larger than %u MiB", path, DOCUMENT_MAX >> 20);
	if (r < 0) {
		r = err_sys(e, -r, "cannot read the bundle's %s", path);
		err_append(e, "; a bundle is a directory with config.json and a root file system");
		return r;
	}
	return oci_spec_parse(text, len, path, ret, warnings, e);
}

static char *to_json(const struct schema *s, const ProtobufCMessage *m)
{
	_cleanup_json_ struct json_object *o = schema_write(s, m);
	const char *text = o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_PRETTY |
									 JSON_C_TO_STRING_PRETTY_TAB |
									 JSON_C_TO_STRING_NOSLASHESCAPE)
			     : NULL;

	return text ? str_printf("%s\n", text) : NULL;
}

char *oci_spec_to_json(const Grpc__Spec *spec)
{
	return to_json(&whole, &spec->base);
}

char *oci_process_to_json(const Grpc__Process *process)
{
	return to_json(&schema_process, &process->base);
}

char *oci_resources_to_json(const Grpc__LinuxResources *resources)
{
	return to_json(&schema_resources, &resources->base);
}

void oci_spec_free(Grpc__Spec *spec)
{
	if (spec)
		grpc__spec__free_unpacked(spec, NULL);
}

void oci_process_free(Grpc__Process *process)
{
	if (process)
		grpc__process__free_unpacked(process, NULL);
}

void oci_resources_free(Grpc__LinuxResources *resources)
{
	if (resources)
		grpc__linux_resources__free_unpacked(resources, NULL);
}

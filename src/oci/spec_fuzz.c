/* SPDX-License-Identifier: Apache-2.0 */
/* config.json: any bytes; what is accepted must survive being written and read again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "oci/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_spec_ Grpc__Spec *spec = NULL, *again = NULL;
	_cleanup_(oci_process_free_p) Grpc__Process *process = NULL;
	_cleanup_(oci_resources_free_p) Grpc__LinuxResources *resources = NULL;
	_cleanup_strv_ struct strv warnings = { 0 };
	_cleanup_free_ char *json = NULL;
	struct err e = { 0 };

	oci_spec_parse_process((const char *)data, size, "fuzz", &process, &warnings, &e);
	oci_resources_parse((const char *)data, size, "fuzz", &resources, &warnings, &e);
	if (oci_spec_parse((const char *)data, size, "fuzz", &spec, &warnings, &e) < 0)
		return 0;
	json = oci_spec_to_json(spec);
	if (!json || oci_spec_parse(json, strlen(json), "again", &again, NULL, &e) < 0 ||
	    grpc__spec__get_packed_size(spec) != grpc__spec__get_packed_size(again))
		abort();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/info.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"
#include "codec/pb.h"
#include "oci/features.h"
#include "proto/runtime_info.pb-c.h"
#include "task/any.h"

#define OPTIONS_MAX (2u << 20)

int shim_info(struct err *e)
{
	Containerd__Types__RuntimeInfo info = CONTAINERD__TYPES__RUNTIME_INFO__INIT;
	Containerd__Types__RuntimeVersion version = CONTAINERD__TYPES__RUNTIME_VERSION__INIT;
	_cleanup_(pb_free_p) ProtobufCMessage *options = NULL;
	_cleanup_free_ char *data = NULL, *text = oci_features(false);
	Google__Protobuf__Any features = GOOGLE__PROTOBUF__ANY__INIT;
	_cleanup_buf_ struct buf packed = { 0 };
	size_t n = 0, budget = 2 * OPTIONS_MAX;
	int r = fd_read_all(STDIN_FILENO, OPTIONS_MAX, &data, &n);

	if (r < 0)
		return err_sys(e, -r, "cannot read the runtime options from stdin");
	if (n) {
		r = pb_unpack(&google__protobuf__any__descriptor, data, n, &budget, &options);
		if (r < 0)
			return err_set(e, ERR_PROTOCOL, EINVAL, "the bytes on stdin are no google.protobuf.Any");
	}
	if (!text)
		return err_sys(e, ENOMEM, "cannot tell what this runtime is");
	features.type_url = (char *)ANY_OCI_FEATURES;
	features.value = (ProtobufCBinaryData){ .data = (uint8_t *)text, .len = strlen(text) };
	version.version = (char *)CAISSON_VERSION;
	info.name = (char *)"io.containerd.caisson.v2";
	info.version = &version;
	info.options = (Google__Protobuf__Any *)options;
	/* Without them a pod that wants recursive read-only mounts is refused. */
	info.features = &features;
	r = pb_pack(&info.base, 2 * OPTIONS_MAX, &packed);
	if (r == 0)
		r = fd_write_full(STDOUT_FILENO, packed.data, packed.len);
	return r < 0 ? err_sys(e, -r, "cannot write what this runtime is") : 0;
}

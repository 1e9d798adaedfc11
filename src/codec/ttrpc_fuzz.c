/* SPDX-License-Identifier: Apache-2.0 */
/* A server fed with the bytes of a hostile peer. First byte: how finely they are cut. Requests are answered at once or
 * kept until the peer has gone. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/agent.pb-c.h"
#include "base/log.h"
#include "codec/ttrpc.h"
#include "proto/empty.pb-c.h"

static void answer(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	ttrpc_reply(req, &empty.base);
}

static void on_close(struct ttrpc_request *req, void *userdata)
{
	ttrpc_reply_error(req, TTRPC_CANCELLED, "gone");
}

static void keep(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	ttrpc_request_on_close(req, on_close, NULL);
}

static const struct ttrpc_method methods[] = {
	{ "C", &grpc__create_container_request__descriptor, answer },
	{ "K", &grpc__wait_process_request__descriptor, keep },
};
static const struct ttrpc_service services[] = { { "S", methods, 2 } };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ttrpc_server *server;
	struct loop *loop;
	size_t step;
	int sv[2];

	log_set_level(LOG_LEVEL_ERROR);
	if (!size || loop_new(&loop, NULL) < 0)
		return 0;
	step = data[0] ? data[0] : 65536;
	if (ttrpc_server_new(loop, -1, services, 1, NULL, &server, NULL) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0 || ttrpc_server_add(server, sv[0], NULL) < 0)
		abort();
	for (size_t pos = 1; pos < size; pos += step) {
		if (send(sv[1], data + pos, size - pos < step ? size - pos : step, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
		loop_run_once(loop, 0);
	}
	close(sv[1]);
	loop_run_once(loop, 0);
	loop_run_once(loop, 0);
	ttrpc_server_free(server);
	loop_free(loop);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time limits that a test can wait for: while `hurry` is true, calls have 200 ms at most, and timers run a hundred
 * times as fast. For tests that are linked with --wrap=ttrpc_call,--wrap=loop_add_timer,--wrap=loop_timer_set, behind
 * cmocka.h.
 */
#pragma once

#include "codec/ttrpc.h"

static _Atomic bool hurry;
#define HURRY_MS 200

int __real_ttrpc_call(struct ttrpc_client *client, const char *service, const char *method,
		      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response, int timeout_ms,
		      ProtobufCMessage **ret_response, struct err *e);
int __wrap_ttrpc_call(struct ttrpc_client *client, const char *service, const char *method,
		      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response, int timeout_ms,
		      ProtobufCMessage **ret_response, struct err *e);

int __wrap_ttrpc_call(struct ttrpc_client *client, const char *service, const char *method,
		      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response, int timeout_ms,
		      ProtobufCMessage **ret_response, struct err *e)
{
	assert_true(timeout_ms > 0);
	return __real_ttrpc_call(client, service, method, request, response, hurry ? HURRY_MS : timeout_ms,
				 ret_response, e);
}

int __real_loop_add_timer(struct loop *loop, uint64_t delay_ms, loop_timer_fn fn, void *userdata,
			  struct loop_source **ret);
int __wrap_loop_add_timer(struct loop *loop, uint64_t delay_ms, loop_timer_fn fn, void *userdata,
			  struct loop_source **ret);
void __real_loop_timer_set(struct loop_source *s, uint64_t delay_ms);
void __wrap_loop_timer_set(struct loop_source *s, uint64_t delay_ms);

static uint64_t quick(uint64_t delay_ms)
{
	return hurry && delay_ms != UINT64_MAX ? (delay_ms + 99) / 100 : delay_ms;
}

int __wrap_loop_add_timer(struct loop *loop, uint64_t delay_ms, loop_timer_fn fn, void *userdata,
			  struct loop_source **ret)
{
	return __real_loop_add_timer(loop, quick(delay_ms), fn, userdata, ret);
}

void __wrap_loop_timer_set(struct loop_source *s, uint64_t delay_ms)
{
	__real_loop_timer_set(s, quick(delay_ms));
}

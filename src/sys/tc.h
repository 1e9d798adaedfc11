/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traffic control, as much of it as ties two interfaces together: an ingress queueing discipline with one filter that
 * redirects every frame to another interface (u32 that matches all, action mirred: what Kata's tcfilter does, and what
 * kernels have that lack the newer classifiers). Each function takes a socket of rtnl_open().
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum tc_ingress {
	TC_INGRESS_NONE,
	TC_INGRESS_OURS, /* made by tc_redirect(), and nobody added anything */
	TC_INGRESS_OTHER,
};

/*
 * Every frame that comes in at `from` leaves by `to` (indices) instead of reaching the stack. Makes the queueing
 * discipline. -EEXIST: there is one already.
 */
int tc_redirect(int fd, int from, int to);
/* Who uses the ingress side of an interface; OURS: *ret_to is where frames go, 0 when that is gone. */
int tc_ingress(int fd, int index, enum tc_ingress *ret, int *ret_to);
/* Remove the queueing discipline with its filters. -ENOENT: there is none. */
int tc_ingress_del(int fd, int index);

/* Readers of one message each, behind nlmsghdr; exported for the fuzzer. 0, 1: not of interest, or -EBADMSG. */
struct tc_qdisc {
	int index;
	uint32_t parent;
};
struct tc_filter {
	uint32_t handle;
	char kind[16];
	int to; /* target of the first action, if it is a redirection; else 0 */
};
int tc_parse_qdisc(const void *body, size_t n, struct tc_qdisc *ret);
int tc_parse_filter(const void *body, size_t n, struct tc_filter *ret);

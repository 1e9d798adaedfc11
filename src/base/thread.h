/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of this program's own: signals are the business of the thread that made them, and stacks are small. */
#pragma once

#include <pthread.h>

/*
 * Bytes of a thread's stack. Under 2 MiB it also stays out of reach of transparent huge pages, which hosts that have
 * them "always" (Debian) would give each of the C library's stacks of 8 MiB at the first touch.
 */
#define THREAD_STACK (256U << 10)

/* Start fn(arg) with all signals blocked. 0 or -errno. */
int thread_start(pthread_t *ret, void *(*fn)(void *arg), void *arg);

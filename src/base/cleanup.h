/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound ownership: a variable marked _cleanup_*_ releases what it holds when it goes out of scope, unless the
 * value was handed on with take_ptr() or take_fd().
 */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Define fn##_p(T *) for _cleanup_(fn##_p): calls fn when the pointer is not NULL. */
#define DEFINE_CLEANUP(type, fn)                                                                                       \
	static inline void fn##_p(type *p)                                                                             \
	{                                                                                                              \
		if (*p)                                                                                                \
			fn(*p);                                                                                        \
	}

static inline void cleanup_free_p(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close_p(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose_p(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_closedir_p(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_free_     _cleanup_(cleanup_free_p)
#define _cleanup_close_    _cleanup_(cleanup_close_p)
#define _cleanup_fclose_   _cleanup_(cleanup_fclose_p)
#define _cleanup_closedir_ _cleanup_(cleanup_closedir_p)

/* Hand the value on and leave the variable empty, so that its cleanup does nothing. */
#define take_ptr(p)                                                                                                    \
	({                                                                                                             \
		__typeof__(p) *take_p_ = &(p);                                                                         \
		__typeof__(p) take_v_ = *take_p_;                                                                      \
		*take_p_ = NULL;                                                                                       \
		take_v_;                                                                                               \
	})

static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

/* Close *fd if it is open and mark it closed. Keeps errno. */
void fd_close(int *fd);

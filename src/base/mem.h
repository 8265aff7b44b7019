/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership of locals. A local that owns something is tagged at its declaration and released when
 * it leaves scope; take_ptr() and take_fd() are the only ways by which ownership leaves it.
 */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void mem_freep(void *p)
{
	free(*(void **)p);
}

static inline void mem_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void mem_fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void mem_closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _free_	     _cleanup_(mem_freep)
#define _close_	     _cleanup_(mem_closep)
#define _fclose_     _cleanup_(mem_fclosep)
#define _closedir_   _cleanup_(mem_closedirp)

#define take_ptr(p)                                                                                \
	({                                                                                         \
		typeof(p) taken_ = (p);                                                            \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})

#define take_fd(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Defines name##p() for _cleanup_: frees what a pointer points to with @f, which accepts NULL. */
#define DEFINE_CLEANUP(type, f)                                                                    \
	static inline void f##p(type *p)                                                           \
	{                                                                                          \
		if (*p)                                                                            \
			f(*p);                                                                     \
	}

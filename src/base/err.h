/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A failure that a person will read: one sentence that says what failed, on what, and what to do
 * next. The caller owns the buffer; a callee fills it when it returns a negative errno and leaves
 * it alone otherwise. Every function here accepts a NULL err.
 */
#pragma once

#include <stdarg.h>

struct err {
	char text[768];
};

/* Sets the sentence. Returns @code, so that "return err_set(err, -EINVAL, ...)" reads well. */
int err_set(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Like err_set(), and appends ": " and the text of errno value -@code. */
int err_errno(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts context and ": " in front of the sentence that is there. Returns @code. */
int err_wrap(struct err *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

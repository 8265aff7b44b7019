/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole catalog as text, to move it from one store to another: a line of JSON that says what the
 * text is, then a line for each key, by key. Keys that some process keeps alive
 * (store_keep_alive()) cannot be told from others: the caller says which to leave out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct err;
struct store;

#define STORE_TRANSFER_VERSION 1

/*
 * Writes every key as of one revision but those that start with one of @skipped, which ends with
 * NULL (NULL: none are left out). @count (may be NULL): how many. -EIO when @out fails.
 */
int store_export(
	struct store *store, FILE *out, const char *const *skipped, size_t *count, struct err *err);

/*
 * Puts every key of the text, some at a time; all of it has been read and checked before the first
 * is put. -EINVAL when it is not an export, was cut short, or is of another version (the sentence
 * names the line); -EEXIST when the store has keys already, or is being written by another. With
 * @is_forced the keys are put beside and over what is there: so an import that broke off half way
 * can be repeated.
 */
int store_import(struct store *store, FILE *in, bool is_forced, size_t *count, struct err *err);

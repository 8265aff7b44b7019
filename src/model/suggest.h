/* SPDX-License-Identifier: Apache-2.0 */
/* Did you mean: the known word that is nearest to one that is not known. */
#pragma once

#include <stddef.h>

/* Returns the nearest of @known, or NULL when none is near; letter case does not count. */
const char *suggest(const char *word, const char *const *known, size_t count);

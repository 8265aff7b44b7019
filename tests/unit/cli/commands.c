/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/width.h"

static void every_command_has_a_group_that_holds_it(void **state)
{
	(void)state;
	for (const struct command *c = &commands[1]; c->path; c++) {
		const char *space = strrchr(c->path, ' ');
		const struct command *group = &commands[0];

		if (space)
			group = command_find(&commands[0], c->path, (size_t)(space - c->path));
		assert_non_null(group);
		assert_null(group->run);
		assert_ptr_equal(command_find(group, command_word(c), strlen(command_word(c))), c);
	}
}

static void no_flag_hides_a_global_one(void **state)
{
	(void)state;
	for (const struct command *c = commands; c->path; c++) {
		for (const struct flag *f = c->flags; f && f->name; f++) {
			for (const struct flag *g = global_flags; g->name; g++) {
				assert_string_not_equal(f->name, g->name);
				assert_false(f->letter && f->letter == g->letter);
			}
			assert_ptr_equal(command_flag(c, f->name, strlen(f->name)), f);
			assert_true(!f->letter || command_letter(c, f->letter) == f);
		}
	}
}

static void only_the_last_positional_repeats_or_is_optional(void **state)
{
	(void)state;
	for (const struct command *c = commands; c->path; c++)
		for (const struct positional *p = c->positionals; p && p->name; p++)
			assert_true(!p[1].name || (!p->repeats && !p->is_optional));
}

static void every_help_fits_80_columns(void **state)
{
	(void)state;
	for (const struct command *c = commands; c->path; c++) {
		_cleanup_(buf_clear) struct buf text = {};
		char *line, *at;

		help_add(&text, c);
		at = text.data;
		while ((line = strsep(&at, "\n"))) {
			/* A command to copy stays on one line. */
			if (strncmp(line, "  wherry ", 9) != 0)
				assert_true(width_of(line) <= 80);
		}
	}
}

static void help_names_every_flag_and_the_usage(void **state)
{
	const struct command *group = command_find(&commands[0], "machine", 7);
	const struct command *exec = command_find(group, "exec", 4);
	_cleanup_(buf_clear) struct buf text = {};

	(void)state;
	help_add(&text, exec);
	assert_non_null(strstr(text.data, "Usage: wherry machine exec [flags] ID -- CMD...\n"));
	for (const struct flag *g = global_flags; g->name; g++)
		assert_non_null(strstr(text.data, g->name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_command_has_a_group_that_holds_it),
		cmocka_unit_test(no_flag_hides_a_global_one),
		cmocka_unit_test(only_the_last_positional_repeats_or_is_optional),
		cmocka_unit_test(every_help_fits_80_columns),
		cmocka_unit_test(help_names_every_flag_and_the_usage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

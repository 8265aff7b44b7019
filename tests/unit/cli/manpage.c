/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/run.h"
#include "cli/cli.h"
#include "cli/handlers.h"

/* What the man command prints. */
static char *source(void)
{
	_cleanup_(cli_clear) struct cli cli = {};
	_fclose_ FILE *file = tmpfile();
	char *text = calloc(1, 1 << 20);
	int saved = dup(STDOUT_FILENO);

	assert_non_null(file);
	assert_non_null(text);
	fflush(stdout);
	dup2(fileno(file), STDOUT_FILENO);
	assert_int_equal(man_command(&cli), CLI_OK);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	rewind(file);
	assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
	return text;
}

static void every_visible_command_and_flag_is_in_the_manual(void **state)
{
	_free_ char *text = source();

	(void)state;
	for (const struct command *c = commands; c->path; c++) {
		char title[80], flag[80];

		if (!c->run)
			continue;
		snprintf(title, sizeof(title), "\n## wherry %s\n", c->path);
		if (c->is_hidden) {
			assert_null(strstr(text, title));
			continue;
		}
		assert_non_null(strstr(text, title));
		for (const struct flag *f = c->flags; f && f->name; f++) {
			snprintf(flag, sizeof(flag), "*--%s*", f->name);
			assert_non_null(strstr(strstr(text, title), flag));
		}
	}
}

static void scdoc_accepts_the_source(void **state)
{
	_cleanup_(run_result_clear) struct run_result result = {};
	_free_ char *text = source();

	(void)state;
	if (run_program((const char *const[]){"scdoc", NULL}, text, 10000, &result, NULL) < 0)
		skip();
	assert_string_equal(result.errors, "");
	assert_int_equal(result.status, 0);
	assert_non_null(strstr(result.output, ".TH \"wherry\" \"1\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_visible_command_and_flag_is_in_the_manual),
		cmocka_unit_test(scdoc_accepts_the_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/run.h"
#include "cli/cli.h"
#include "cli/completion.h"

/* What is offered for the last word; nothing listens on the socket. */
#define OFFERED(...)                                                                               \
	({                                                                                         \
		static const char *const words_[] = {__VA_ARGS__};                                 \
		offered(words_, ARRAY_LEN(words_));                                                \
	})

static char *offered(const char *const words[], size_t count)
{
	_cleanup_(cli_clear) struct cli cli = {.socket = "/nonexistent/wherryd.sock"};
	struct buf out = {};

	buf_adds(&out, "\n");
	completion_add(&cli, words, count, &out);
	return buf_take(&out);
}

static void commands_are_offered_by_their_beginning(void **state)
{
	_free_ char *top = OFFERED("ma"), *inner = OFFERED("-a", "web", "machine", "de");

	(void)state;
	assert_non_null(strstr(top, "\nmachine\t"));
	assert_null(strstr(top, "man\t"));
	assert_non_null(strstr(inner, "\ndestroy\t"));
	assert_non_null(strstr(inner, "\ndetach\t"));
	assert_null(strstr(inner, "\nlist\t"));
}

static void flags_of_the_command_and_global_ones_are_offered(void **state)
{
	_free_ char *text = OFFERED("logs", "--");

	(void)state;
	assert_non_null(strstr(text, "\n--follow\t"));
	assert_non_null(strstr(text, "\n--json\t"));
	assert_null(strstr(text, "--force"));
}

static void files_and_directories_are_left_to_the_shell(void **state)
{
	_free_ char *file = OFFERED("deploy", "-c", ""), *dir = OFFERED("deploy", "-j", "");

	(void)state;
	assert_string_equal(file, "\n:files\n");
	assert_string_equal(dir, "\n:dirs\n");
}

static void a_value_after_an_equals_sign_is_completed(void **state)
{
	_free_ char *text = OFFERED("launch", "--protocol=u");

	(void)state;
	assert_string_equal(text, "\n--protocol=udp\t\n");
}

static void words_of_help_are_commands(void **state)
{
	_free_ char *text = OFFERED("help", "ips", "re");

	(void)state;
	assert_non_null(strstr(text, "\nrelease\t"));
}

static void a_programs_words_are_not_completed(void **state)
{
	_free_ char *text = OFFERED("machine", "exec", "3d8e", "--", "ls", "--");

	(void)state;
	assert_string_equal(text, "\n");
}

static void an_absent_daemon_offers_nothing_quietly(void **state)
{
	_free_ char *machines = OFFERED("machine", "stop", ""), *apps = OFFERED("status", "-a", "");

	(void)state;
	assert_string_equal(machines, "\n");
	assert_string_equal(apps, "\n");
}

/* Runs the script of @shell through "SHELL -n"; skipped where there is no such shell. */
static void check_syntax(const char *shell)
{
	_cleanup_(run_result_clear) struct run_result result = {};

	if (run_program((const char *const[]){shell, "-n", "/dev/stdin", NULL},
		    completion_script(shell), 10000, &result, NULL) < 0)
		skip();
	assert_string_equal(result.errors, "");
	assert_int_equal(result.status, 0);
}

static void the_bash_script_parses(void **state)
{
	(void)state;
	check_syntax("bash");
}

static void the_zsh_script_parses(void **state)
{
	(void)state;
	check_syntax("zsh");
}

static void the_fish_script_parses(void **state)
{
	(void)state;
	check_syntax("fish");
}

/* A stand-in for wherry answers, so that the script itself is what is tested. */
static void bash_completes_words_with_colons(void **state)
{
	static const char line[] = "wherry ips release 2001:db8::";
	_cleanup_(run_result_clear) struct run_result result = {};
	_cleanup_(buf_clear) struct buf script = {};

	(void)state;
	buf_addf(&script,
		"%s\nwherry() { printf '2001:db8::1\\tv6\\n2001:db8::2\\tv6\\n'; }\n"
		"COMP_LINE='%s' COMP_POINT=%zu\n_wherry\nprintf '%%s;' \"${COMPREPLY[@]}\"\n",
		completion_script("bash"), line, strlen(line));
	assert_int_equal(run_program((const char *const[]){"bash", "/dev/stdin", NULL}, script.data,
				 10000, &result, NULL),
		0);
	assert_string_equal(result.output, "1;2;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_offered_by_their_beginning),
		cmocka_unit_test(flags_of_the_command_and_global_ones_are_offered),
		cmocka_unit_test(files_and_directories_are_left_to_the_shell),
		cmocka_unit_test(a_value_after_an_equals_sign_is_completed),
		cmocka_unit_test(words_of_help_are_commands),
		cmocka_unit_test(a_programs_words_are_not_completed),
		cmocka_unit_test(an_absent_daemon_offers_nothing_quietly),
		cmocka_unit_test(the_bash_script_parses),
		cmocka_unit_test(the_zsh_script_parses),
		cmocka_unit_test(the_fish_script_parses),
		cmocka_unit_test(bash_completes_words_with_colons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal; see term.h. Questions go to standard error, so that an answer never mixes with a
 * result that is piped on.
 */
#include "cli/term.h"

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/progress.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>

#define WIDTH_DEFAULT 80
#define WIDTH_MIN     20

bool term_is_terminal(FILE *stream)
{
	return isatty(fileno(stream));
}

size_t term_width(FILE *stream)
{
	struct winsize size = {};

	if (!term_is_terminal(stream))
		return 0;
	if (ioctl(fileno(stream), TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return WIDTH_DEFAULT;
	return size.ws_col < WIDTH_MIN ? WIDTH_MIN : size.ws_col;
}

bool term_has_colour(FILE *stream)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (no_color && *no_color)
		return false;
	if (!term || !*term || strcmp(term, "dumb") == 0)
		return false;
	return term_is_terminal(stream);
}

const char *term_colour(FILE *stream, enum term_colour colour)
{
	static const char *const sequences[] = {
		[TERM_PLAIN] = "\033[0m",
		[TERM_BOLD] = "\033[1m",
		[TERM_DIM] = "\033[2m",
		[TERM_RED] = "\033[31m",
		[TERM_GREEN] = "\033[32m",
		[TERM_YELLOW] = "\033[33m",
	};

	return term_has_colour(stream) ? sequences[colour] : "";
}

bool term_can_ask(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool term_confirm(const struct cli *cli, bool assumed, const char *format, ...)
{
	_free_ char *line = NULL;
	size_t size = 0;
	va_list ap;

	if (cli->is_yes)
		return true;
	if (!term_can_ask())
		return false;
	progress_end();
	for (;;) {
		va_start(ap, format);
		vfprintf(stderr, format, ap);
		va_end(ap);
		fputs(assumed ? " [Y/n] " : " [y/N] ", stderr);
		if (getline(&line, &size, stdin) < 0) {
			fputc('\n', stderr);
			return false;
		}
		line[strcspn(line, "\r\n")] = '\0';
		if (!*line)
			return assumed;
		if (strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0)
			return true;
		if (strcasecmp(line, "n") == 0 || strcasecmp(line, "no") == 0)
			return false;
	}
}

char *term_ask(const char *assumed, const char *format, ...)
{
	_free_ char *line = NULL;
	size_t size = 0;
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, " [%s] ", assumed);
	if (getline(&line, &size, stdin) < 0) {
		fputc('\n', stderr);
		return strdup(assumed);
	}
	line[strcspn(line, "\r\n")] = '\0';
	return *line ? take_ptr(line) : strdup(assumed);
}

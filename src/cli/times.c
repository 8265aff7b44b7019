/* SPDX-License-Identifier: Apache-2.0 */
/* Times; see times.h. */
#include "cli/times.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t times_parse(const char *text)
{
	struct tm tm = {};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int hours, minutes;
	char sign;

	if (!end)
		return -1;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	if (strcmp(end, "Z") == 0)
		return timegm(&tm);
	if (sscanf(end, "%c%2d:%2d", &sign, &hours, &minutes) != 3 || (sign != '+' && sign != '-'))
		return -1;
	return timegm(&tm) - (sign == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
}

char *times_whole(const char *text, char out[static TIMES_TEXT_LEN])
{
	int64_t at = times_parse(text);
	time_t seconds = (time_t)at;
	struct tm tm;

	if (at < 0 || !gmtime_r(&seconds, &tm))
		snprintf(out, TIMES_TEXT_LEN, "%s", text);
	else
		strftime(out, TIMES_TEXT_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return out;
}

char *times_ago(const char *text, time_t now, char out[static TIMES_TEXT_LEN])
{
	int64_t at = times_parse(text), ago = (int64_t)now - at;

	if (at < 0)
		snprintf(out, TIMES_TEXT_LEN, "%s", text);
	else if (ago < 2)
		snprintf(out, TIMES_TEXT_LEN, "just now");
	else if (ago < 60)
		snprintf(out, TIMES_TEXT_LEN, "%ds ago", (int)ago);
	else if (ago < 3600)
		snprintf(out, TIMES_TEXT_LEN, "%dm ago", (int)(ago / 60));
	else if (ago < 48 * 3600)
		snprintf(out, TIMES_TEXT_LEN, "%dh ago", (int)(ago / 3600));
	else
		snprintf(out, TIMES_TEXT_LEN, "%lldd ago", (long long)(ago / 86400));
	return out;
}

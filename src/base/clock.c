/* SPDX-License-Identifier: Apache-2.0 */
/* Time; see clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t clock_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

char *clock_stamp(char stamp[static CLOCK_STAMP_LEN])
{
	struct timespec now;
	struct tm utc;
	char date[20];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(
		stamp, CLOCK_STAMP_LEN, "%s.%03uZ", date, (unsigned)(now.tv_nsec / 1000000) % 1000);
	return stamp;
}

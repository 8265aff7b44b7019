/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "fabric/maglev.h"
#include "wherry/abi.h"

#define SLOTS	     WHERRY_MAGLEV_SLOTS
#define MAX_BACKENDS 100

static uint16_t before[SLOTS], after[SLOTS];
static char names[MAX_BACKENDS][16];
static struct maglev_backend backends[MAX_BACKENDS];

/* Machine ids look like this: 14 hexadecimal digits. */
static int name_backends(void **state)
{
	(void)state;
	for (uint16_t i = 0; i < MAX_BACKENDS; i++) {
		snprintf(names[i], sizeof(names[i]), "%06x%08x", i * 0x9e37u % 0xffffff,
			(i + 1) * 2654435761u);
		backends[i] = (struct maglev_backend){names[i], (uint16_t)(i + 1)};
	}
	return 0;
}

static void every_backend_gets_its_share(void **state)
{
	static const size_t counts[] = {1, 2, 3, 7, 16, MAX_BACKENDS};

	(void)state;
	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		unsigned int shares[MAX_BACKENDS + 1] = {0};

		assert_int_equal(maglev_fill(before, SLOTS, backends, counts[c]), 0);
		for (size_t i = 0; i < SLOTS; i++)
			shares[before[i]]++;
		assert_int_equal(shares[0], 0);
		/* Taking turns makes the shares equal to within one. */
		for (size_t i = 1; i <= counts[c]; i++)
			assert_in_range(shares[i], SLOTS / counts[c], SLOTS / counts[c] + 1);
	}
}

static size_t entries_that_differ(void)
{
	size_t count = 0;

	for (size_t i = 0; i < SLOTS; i++)
		count += before[i] != after[i];
	return count;
}

static void removing_one_moves_little_more_than_its_share(void **state)
{
	static const size_t counts[] = {2, 3, 7, 16, MAX_BACKENDS};

	(void)state;
	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		const size_t count = counts[c], share = SLOTS / count;

		assert_int_equal(maglev_fill(before, SLOTS, backends, count), 0);
		assert_int_equal(maglev_fill(after, SLOTS, backends, count - 1), 0);
		/* NSDI 2016, figure 12: a few per cent of the others' entries move too. */
		assert_in_range(entries_that_differ(), share, share + SLOTS * 4 / 100);
	}
}

static void the_order_of_backends_does_not_matter(void **state)
{
	struct maglev_backend reversed[16];

	(void)state;
	for (size_t i = 0; i < 16; i++)
		reversed[i] = backends[15 - i];
	assert_int_equal(maglev_fill(before, SLOTS, backends, 16), 0);
	assert_int_equal(maglev_fill(after, SLOTS, reversed, 16), 0);
	assert_memory_equal(before, after, sizeof(before));
}

/* Hosts number machines in their own ways; the name alone decides. */
static void the_values_of_backends_do_not_matter(void **state)
{
	struct maglev_backend other[16];

	(void)state;
	for (size_t i = 0; i < 16; i++)
		other[i] = (struct maglev_backend){backends[i].name, (uint16_t)(1000 + i)};
	assert_int_equal(maglev_fill(before, SLOTS, backends, 16), 0);
	assert_int_equal(maglev_fill(after, SLOTS, other, 16), 0);
	for (size_t i = 0; i < SLOTS; i++)
		assert_int_equal(after[i], before[i] + 999);
}

static void no_backends_make_an_empty_table(void **state)
{
	(void)state;
	memset(after, 0xff, sizeof(after));
	assert_int_equal(maglev_fill(after, SLOTS, NULL, 0), 0);
	for (size_t i = 0; i < SLOTS; i++)
		assert_int_equal(after[i], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_backend_gets_its_share),
		cmocka_unit_test(removing_one_moves_little_more_than_its_share),
		cmocka_unit_test(the_order_of_backends_does_not_matter),
		cmocka_unit_test(the_values_of_backends_do_not_matter),
		cmocka_unit_test(no_backends_make_an_empty_table),
	};

	return cmocka_run_group_tests(tests, name_backends, NULL);
}

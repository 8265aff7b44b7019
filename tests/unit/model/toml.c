/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "model/toml.h"

static struct toml_node *parse(const char *text)
{
	struct toml_node *root = NULL;
	struct toml_error error;

	if (toml_parse(text, strlen(text), &root, &error) < 0)
		fail_msg("%u:%u %s", error.line, error.column, error.message);
	return root;
}

static void children_come_in_file_order_with_places(void **state)
{
	struct toml_node *root _cleanup_(toml_freep) =
		parse("zz = 1\naa = \"x\"\n[mm.nn]\nb = 2\n");
	const struct toml_node *aa = &root->children[1], *mm = &root->children[2];

	(void)state;
	assert_int_equal(root->child_count, 3);
	assert_string_equal(root->children[0].key, "zz");
	assert_string_equal(aa->key, "aa");
	assert_int_equal(aa->key_line, 2);
	assert_int_equal(aa->key_column, 1);
	assert_int_equal(aa->column, 6);
	assert_ptr_equal(aa->parent, root);
	assert_string_equal(mm->key, "mm");
	assert_int_equal(mm->line, 3);
	assert_int_equal(toml_get(toml_get(mm, "nn"), "b")->integer, 2);
	assert_ptr_equal(toml_get(mm, "nn")->parent, mm);
	assert_null(toml_get(root, "b"));
}

static void every_type_has_its_value(void **state)
{
	struct toml_node *root _cleanup_(toml_freep) =
		parse("s = 'a'\ni = -16\nf = 1.5\nb = true\nd = 1979-05-27T07:32:00Z\n"
		      "a = [1, [2]]\nt = {k = 1}\n");

	(void)state;
	assert_int_equal(toml_get(root, "s")->type, TOML_STRING);
	assert_string_equal(toml_get(root, "s")->string, "a");
	assert_int_equal(toml_get(root, "i")->type, TOML_INTEGER);
	assert_int_equal(toml_get(root, "i")->integer, -16);
	assert_int_equal(toml_get(root, "f")->type, TOML_FLOAT);
	assert_true(toml_get(root, "f")->real == 1.5);
	assert_int_equal(toml_get(root, "b")->type, TOML_BOOLEAN);
	assert_true(toml_get(root, "b")->boolean);
	assert_int_equal(toml_get(root, "d")->type, TOML_DATE);
	assert_string_equal(toml_get(root, "d")->string, "1979-05-27T07:32:00Z");
	assert_int_equal(toml_get(root, "a")->type, TOML_ARRAY);
	assert_int_equal(toml_get(root, "a")->child_count, 2);
	assert_null(toml_get(root, "a")->children[0].key);
	assert_int_equal(toml_get(root, "a")->children[1].children[0].integer, 2);
	assert_int_equal(toml_get(root, "t")->type, TOML_TABLE);
	assert_int_equal(toml_get(toml_get(root, "t"), "k")->integer, 1);
}

/* A letter outside of ASCII there is what the library's test for whitespace stumbles over. */
static void a_line_break_is_taken_out_before_any_letter(void **state)
{
	struct toml_node *root _cleanup_(toml_freep) = parse("a = \"\"\"x\\\n  \u00e9\"\"\"\n");

	(void)state;
	assert_string_equal(toml_get(root, "a")->string, "x\u00e9");
}

static void a_key_may_have_16_parts(void **state)
{
	struct toml_node *root _cleanup_(toml_freep) =
		parse("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p = \"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r\"\n"
		      "# a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z\n");
	struct toml_node *none = NULL;
	struct toml_error error;
	const char *text = "x = 1\n a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q = 1";

	(void)state;
	assert_int_equal(root->child_count, 1);
	assert_int_equal(toml_parse(text, strlen(text), &none, &error), -EINVAL);
	assert_null(none);
	assert_int_equal(error.line, 2);
	assert_int_equal(error.column, 33);
	assert_string_equal(error.message, "a key has more than 16 parts");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(children_come_in_file_order_with_places),
		cmocka_unit_test(every_type_has_its_value),
		cmocka_unit_test(a_line_break_is_taken_out_before_any_letter),
		cmocka_unit_test(a_key_may_have_16_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

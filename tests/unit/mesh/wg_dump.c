/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "mesh/wg_dump.h"

#define SECRET "6Nk0Yo1gMX9RMS2w9JDDfgbwHYTbxNL4lFkLnBaU+Ws="
#define KEY_A  "YnYZ1iI+3PcPjIgxZoLBt0t2F0S3GFkh2DgrvJtNqGk="
#define KEY_B  "hSbyKKxBOdoxxQxIPe8cS5+TzVKg6w0+9jVJXkBqSCs="
#define DEVICE SECRET "\t" KEY_A "\t51820\toff\n"

static void a_dump_is_read_field_by_field(void **state)
{
	static const char text[] = DEVICE KEY_B
		"\t(none)\t192.0.2.7:51820\t10.64.0.2/32,fd64::2/128,172.18.0.0/16\t1700000000\t12"
		"\t345\toff\n" KEY_A "\t" SECRET "\t[2001:db8::7]:65535\t(none)\t0\t0\t0\t25\n";
	_cleanup_(wg_device_clear) struct wg_device device = {};
	char prefix[PREFIX_TEXT_LEN], addr[ADDR_TEXT_LEN];
	const struct wg_peer *peer;

	(void)state;
	assert_int_equal(wg_dump_parse(text, &device, NULL), 0);
	assert_string_equal(device.public_key, KEY_A);
	assert_int_equal(device.port, 51820);
	assert_int_equal(device.peer_count, 2);
	peer = wg_dump_find(&device, KEY_B);
	assert_non_null(peer);
	assert_string_equal(addr_format(&peer->endpoint_addr, addr), "192.0.2.7");
	assert_int_equal(peer->endpoint_port, 51820);
	assert_int_equal(peer->allowed_count, 3);
	assert_string_equal(prefix_format(&peer->allowed[1], prefix), "fd64::2/128");
	assert_string_equal(prefix_format(&peer->allowed[2], prefix), "172.18.0.0/16");
	assert_int_equal(peer->handshake_s, 1700000000);
	assert_int_equal(peer->received_bytes, 12);
	assert_int_equal(peer->sent_bytes, 345);
	assert_int_equal(peer->keepalive_s, 0);
	assert_false(peer->has_preshared_key);
	peer = wg_dump_find(&device, KEY_A);
	assert_string_equal(addr_format(&peer->endpoint_addr, addr), "2001:db8::7");
	assert_int_equal(peer->endpoint_port, 65535);
	assert_int_equal(peer->allowed_count, 0);
	assert_int_equal(peer->keepalive_s, 25);
	assert_true(peer->has_preshared_key);
	assert_null(wg_dump_find(&device, SECRET));
}

static void a_device_without_key_or_peers_is_one(void **state)
{
	_cleanup_(wg_device_clear) struct wg_device device = {};

	(void)state;
	assert_int_equal(wg_dump_parse("(none)\t(none)\t0\toff\n", &device, NULL), 0);
	assert_string_equal(device.public_key, "");
	assert_int_equal(device.peer_count, 0);
}

static void a_link_local_endpoint_loses_its_scope(void **state)
{
	_cleanup_(wg_device_clear) struct wg_device device = {};
	char addr[ADDR_TEXT_LEN];

	(void)state;
	assert_int_equal(
		wg_dump_parse(DEVICE KEY_B "\t(none)\t[fe80::1%eth0]:9\t(none)\t0\t0\t0\toff\n",
			&device, NULL),
		0);
	assert_string_equal(addr_format(&device.peers[0].endpoint_addr, addr), "fe80::1");
}

static void what_is_not_understood_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text;
		int line;
	} cases[] = {
		{"", 1},
		{"\n", 1},
		{SECRET "\t" KEY_A "\t51820\toff", 1},	       /* cut off */
		{SECRET "\t" KEY_A "\t51820\n", 1},	       /* a field too few */
		{DEVICE "x", 2},			       /* cut off */
		{SECRET "\t" KEY_A "\t51820\toff\tmore\n", 1}, /* one too many */
		{SECRET "\t" KEY_A "\t65536\toff\n", 1},       /* no port */
		{SECRET "\t" KEY_A "\t-1\toff\n", 1},	       /* likewise */
		{SECRET "\tshort=\t51820\toff\n", 1},	       /* no key */
		{DEVICE "\n", 2},			       /* an empty line */
		{DEVICE KEY_B "\t(none)\t(none)\t(none)\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t(none)\t(none)\t0\t0\t0\toff\tmore\n", 2},
		{DEVICE "nokey\t(none)\t(none)\t(none)\t0\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t192.0.2.7\t(none)\t0\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t192.0.2.7:\t(none)\t0\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t192.0.2.7:70000\t(none)\t0\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t[192.0.2.7]:7\t(none)\t0\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t[:7\t(none)\t0\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t2001:db8::1:7\t(none)\t0\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\thost:7\t(none)\t0\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t(none)\t10.0.0.1\t0\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t(none)\t10.0.0.1/8\t0\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t(none)\t10.0.0.1/32,\t0\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t(none)\t(none)\tsoon\t0\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t(none)\t(none)\t0\t99999999999999999999\t0\toff\n", 2},
		{DEVICE KEY_B "\t(none)\t(none)\t(none)\t0\t0\t0\t65536\n", 2},
		{DEVICE KEY_B "\t(none)\t(none)\t(none)\t0\t0\t0\ton\n", 2},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct wg_device device = {.port = 7};
		struct err err = {};
		char line[16];

		if (wg_dump_parse(cases[i].text, &device, &err) != -EBADMSG)
			fail_msg("accepted: %s", cases[i].text);
		snprintf(line, sizeof(line), "line %d ", cases[i].line);
		if (!strstr(err.text, line))
			fail_msg("case %zu: %s", i, err.text);
		assert_int_equal(device.port, 7);
		assert_null(device.peers);
	}
}

static void a_key_is_32_bytes_in_base64(void **state)
{
	(void)state;
	assert_true(wg_is_key(KEY_A));
	assert_false(wg_is_key(""));
	assert_false(wg_is_key("YnYZ1iI+3PcPjIgxZoLBt0t2F0S3GFkh2DgrvJtNqGk"));
	assert_false(wg_is_key("YnYZ1iI+3PcPjIgxZoLBt0t2F0S3GFkh2DgrvJtNqGl=")); /* loose bits */
	assert_false(wg_is_key("YnYZ1iI+3PcPjIgxZoLBt0t2F0S3GFkh2DgrvJtNqG=="));
	assert_false(wg_is_key("YnYZ1iI 3PcPjIgxZoLBt0t2F0S3GFkh2DgrvJtNqGk="));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dump_is_read_field_by_field),
		cmocka_unit_test(a_device_without_key_or_peers_is_one),
		cmocka_unit_test(a_link_local_endpoint_loses_its_scope),
		cmocka_unit_test(what_is_not_understood_is_refused_with_its_line),
		cmocka_unit_test(a_key_is_32_bytes_in_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

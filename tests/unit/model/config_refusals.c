/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is refused or warned about: the whole report is compared, so line, column, order and
 * wording are all held.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "model/config.h"

/* Returns the report; what is returned by config_parse() must agree with it. */
static char *report_of(const char *text, size_t len)
{
	struct diagnostics diags _cleanup_(diagnostics_clear) = {};
	struct app_config *config _cleanup_(config_freep) = NULL;
	int error = config_parse(text, len, "fly.toml", &config, &diags);
	unsigned int errors = diagnostics_count(&diags, SEVERITY_ERROR);

	assert_int_equal(error, errors > 0 ? -EINVAL : 0);
	assert_int_equal(config == NULL, errors > 0);
	assert_int_equal(errors + diagnostics_count(&diags, SEVERITY_WARNING), diags.count);
	return diagnostics_format(&diags);
}

/* Three lines, so what is added stands on line 4. */
#define TCP "[[services]]\nprotocol = \"tcp\"\ninternal_port = 80\n"
#define UDP "[[services]]\nprotocol = \"udp\"\ninternal_port = 53\n"

/* Four lines. */
#define UDP53 UDP "ports = [{port = 53}]\n"

#define PORT_IS "; a port is a number from 1 to 65535\n"

static const struct {
	const char *text, *report;
} rows[] = {
	/* ports */
	{TCP "ports = [{port = 0}]",
		"fly.toml:4:18: error: services[0].ports[0].port is 0" PORT_IS},
	{TCP "ports = [{port = -1}]",
		"fly.toml:4:18: error: services[0].ports[0].port is -1" PORT_IS},
	{TCP "ports = [{port = 65536}]",
		"fly.toml:4:18: error: services[0].ports[0].port is 65536" PORT_IS},
	{TCP "ports = [{port = \"65536\"}]",
		"fly.toml:4:18: error: services[0].ports[0].port is \"65536\"" PORT_IS},
	{TCP "ports = [{port = \"80-90\"}]",
		"fly.toml:4:18: error: services[0].ports[0].port is \"80-90\"" PORT_IS},
	{TCP "ports = [{port = \"\"}]",
		"fly.toml:4:18: error: services[0].ports[0].port is \"\"" PORT_IS},
	{TCP "ports = [{port = 99999999999999999999}]",
		"fly.toml:4:38: error: this is not valid TOML: '99999999999999999999' is not "
		"representable in 64 bits, in a decimal integer\n"},
	{TCP "ports = [{port = \"99999999999999999999\"}]",
		"fly.toml:4:18: error: services[0].ports[0].port is "
		"\"99999999999999999999\"" PORT_IS},
	{TCP "ports = [{port = nan}]",
		"fly.toml:4:18: error: services[0].ports[0].port is nan" PORT_IS},
	{TCP "ports = [{port = 1e30}]",
		"fly.toml:4:18: error: services[0].ports[0].port is 1e+30" PORT_IS},
	{TCP "ports = [{port = true}]",
		"fly.toml:4:18: error: services[0].ports[0].port is true" PORT_IS},
	{TCP "ports = [{port = 80.5}]",
		"fly.toml:4:18: warning: services[0].ports[0].port is 80.5; 80 is used\n"},
	{"[processes]\napp = \"sh -c 'open\"",
		"fly.toml:2:1: error: processes.app has a command whose quotes do not match: "
		"sh -c 'open\n"},
	{"[http_service]\ninternal_port = \"x\"",
		"fly.toml:2:17: error: http_service.internal_port is \"x\"" PORT_IS},
	{TCP "ports = [{start_port = 9, end_port = 5}]",
		"fly.toml:4:24: error: services[0].ports[0].start_port is 9, above end_port 5; a "
		"range goes from the lower port to the higher\n"},
	{TCP "ports = [{start_port = 9}]",
		"fly.toml:4:10: error: services[0].ports[0] has start_port without end_port; a "
		"range has both\n"},
	{TCP "ports = [{end_port = 9}]",
		"fly.toml:4:10: error: services[0].ports[0] has end_port without start_port; a "
		"range has both\n"},
	{TCP "ports = [{start_port = 0, end_port = 65536}]",
		"fly.toml:4:24: error: services[0].ports[0].start_port is 0" PORT_IS
		"fly.toml:4:38: error: services[0].ports[0].end_port is 65536" PORT_IS},
	{TCP "ports = [{port = 1, start_port = 1, end_port = 2}]",
		"fly.toml:4:10: error: services[0].ports[0] has port and start_port or end_port; a "
		"port or a range is allowed, not both\n"},
	{TCP "ports = [{}]",
		"fly.toml:4:10: error: services[0].ports[0] has no port; add port, or start_port "
		"and end_port\n"},
	{TCP "ports = 80",
		"fly.toml:4:9: error: services[0].ports is 80; it must be a table or an array of "
		"tables, written [[ports]]\n"},
	{TCP "ports = [80, {port = 0}]",
		"fly.toml:4:10: error: services[0].ports[0] is 80; it must be a table, as written "
		"under [[ports]]\n"
		"fly.toml:4:22: error: services[0].ports[1].port is 0" PORT_IS},
	{"services = \"x\"", "fly.toml:1:12: error: services is \"x\"; it must be a table or an "
			     "array of tables, "
			     "written [[services]]\n"},
	{TCP, "fly.toml:1:1: warning: services[0] has no ports, so nothing reaches it; add "
	      "[[services.ports]]\n"},
	{TCP "ports = []", "fly.toml:1:1: warning: services[0] has no ports, so nothing reaches "
			   "it; add [[services.ports]]\n"},
	/* ports taken twice */
	{TCP "ports = [{port = 80}, {port = 80}]",
		"fly.toml:4:23: error: services[0].ports[1] takes TCP 80, but services[0].ports[0] "
		"on line 4 takes TCP 80; a port belongs to one service\n"},
	{TCP "ports = [{start_port = 70, end_port = 90}]\n" TCP "ports = [{port = 90}]",
		"fly.toml:8:10: error: services[1].ports[0] takes TCP 90, but services[0].ports[0] "
		"on line 4 takes TCP 70-90; a port belongs to one service\n"},
	{TCP "ports = [{port = 90}]\n" TCP "ports = [{start_port = 70, end_port = 90}]",
		"fly.toml:8:10: error: services[1].ports[0] takes TCP 70-90, but "
		"services[0].ports[0] on line 4 takes TCP 90; a port belongs to one service\n"},
	{"[http_service]\n" TCP "ports = [{port = 443}]",
		"fly.toml:5:10: error: services[0].ports[0] takes TCP 443, but http_service on "
		"line "
		"1 takes TCP 443; a port belongs to one service\n"},
	{TCP "processes = [\"a\"]\nports = [{port = 80}]\n" TCP
	     "processes = [\"b\"]\nports = [{port = 80}]\n[processes]\na = \"\"\nb = \"\"",
		"fly.toml:10:10: error: services[1].ports[0] takes TCP 80, but "
		"services[0].ports[0] "
		"on line 5 takes TCP 80; a port belongs to one service\n"},
	{TCP "ports = [{start_port = 1, end_port = 9}, {start_port = 2, end_port = 3}, {port = 5}]",
		"fly.toml:4:42: error: services[0].ports[1] takes TCP 2-3, but "
		"services[0].ports[0] "
		"on line 4 takes TCP 1-9; a port belongs to one service\n"
		"fly.toml:4:74: error: services[0].ports[2] takes TCP 5, but services[0].ports[0] "
		"on line 4 takes TCP 1-9; a port belongs to one service\n"},
	{UDP "ports = [{port = 53}]\n" TCP "ports = [{port = 53}]", ""},
	{TCP "ports = [{start_port = 1, end_port = 9}, {start_port = 10, end_port = 19}]", ""},
	/* UDP */
	{"[[services]]\nprotocol = \"udp\"\ninternal_port = 54\nports = {port = 53}",
		"fly.toml:3:17: error: services[0].internal_port is 54, but the UDP port is 53 and "
		"UDP ports are never rewritten; write internal_port = 53 or leave it out\n"},
	{UDP "ports = {start_port = 50, end_port = 60}",
		"fly.toml:3:17: error: services[0].internal_port is 53, but the UDP ports are 50 "
		"to "
		"60 and UDP ports are never rewritten; write internal_port = 50 or leave it out\n"},
	{UDP "ports = {start_port = 53, end_port = 60}", ""},
	{UDP "ports = [{port = 53}, {port = 54}]",
		"fly.toml:4:23: error: services[0].ports[1] is UDP port 54, but internal_port is "
		"53 "
		"and UDP ports are never rewritten; leave internal_port out or make a service for "
		"each port\n"},
	{UDP "ports = {port = 53, handlers = [\"tls\"]}",
		"fly.toml:4:32: error: services[0].ports.handlers is set, but handlers work on TCP "
		"only; leave it out for UDP\n"},
	{UDP "ports = {port = 53, handlers = []}", ""},
	{UDP "ports = {port = 53}\nconcurrency = \"2,3\"", ""},
	/* handlers and options */
	{TCP "ports = {port = 80, force_https = true}",
		"fly.toml:4:35: error: services[0].ports.force_https is true, but \"http\" is not "
		"among the port's handlers\n"},
	{TCP "ports = {port = 80, handlers = [\"htpp\", 1]}",
		"fly.toml:4:33: error: services[0].ports.handlers[0] is \"htpp\"; handlers are "
		"\"tls\", \"http\", \"pg_tls\" and \"proxy_proto\"; did you mean \"http\"?\n"
		"fly.toml:4:41: error: services[0].ports.handlers[1] is 1; it must be a string in "
		"quotes\n"},
	{TCP "ports = {port = 80, handlers = [\"edge_http\"]}",
		"fly.toml:4:33: warning: services[0].ports.handlers[0] is \"edge_http\"; it is an "
		"old name and is taken as \"http\"\n"},
	{TCP "ports = {port = 80, handlers = [\"tcp\"]}", ""},
	{TCP "ports = {port = 80, handlers = \"tls\"}",
		"fly.toml:4:32: error: services[0].ports.handlers is \"tls\"; it must be an array "
		"of strings, such as [\"tls\", \"http\"]\n"},
	{"[http_service]\ntls_options = {versions = [\"TLSv1.1\"]}",
		"fly.toml:2:28: error: http_service.tls_options.versions[0] is \"TLSv1.1\"; "
		"versions are \"TLSv1.2\" and \"TLSv1.3\"\n"},
	{TCP "ports = {port = 1, handlers = [\"proxy_proto\"], proxy_proto_options = {version = "
	     "\"v3\"}}",
		"fly.toml:4:81: error: services[0].ports.proxy_proto_options.version is \"v3\"; "
		"versions are \"v1\" and \"v2\"\n"},
	{TCP "ports = {port = 1, proxy_proto_options = {version = \"v2\"}}",
		"fly.toml:4:42: warning: services[0].ports.proxy_proto_options has no effect: "
		"\"proxy_proto\" is not among the port's handlers\n"},
	{"[http_service]\nhttp_options = {idle_timeout = -1}",
		"fly.toml:2:32: error: http_service.http_options.idle_timeout is -1; it must be a "
		"whole number from 0 to 2147483647\n"},
	/* protocol */
	{"[[services]]\nprotocol = \"sctp\"\nports = {port = 1}",
		"fly.toml:2:12: error: services[0].protocol is \"sctp\"; protocols are \"tcp\" and "
		"\"udp\"; did you mean \"tcp\"?\n"},
	{"[[services]]\nports = {port = 1}",
		"fly.toml:1:1: warning: services[0] names no protocol and is taken as TCP; add "
		"protocol = \"tcp\" or protocol = \"udp\"\n"},
	/* concurrency */
	{"[http_service]\nconcurrency = {soft_limit = 5, hard_limit = 4}",
		"fly.toml:2:45: error: http_service.concurrency.hard_limit sets a hard limit of 4, "
		"below the soft limit of 5\n"},
	{"[http_service]\nconcurrency = \"5,4\"",
		"fly.toml:2:15: error: http_service.concurrency sets a hard limit of 4, below the "
		"soft limit of 5\n"},
	{"[http_service]\nconcurrency = \"20\"",
		"fly.toml:2:15: error: http_service.concurrency is \"20\"; it must be a table or "
		"\"SOFT,HARD\", such as \"20,25\"\n"},
	{"[http_service]\nconcurrency = {type = \"request\", soft_limit = -1}",
		"fly.toml:2:23: error: http_service.concurrency.type is \"request\"; types are "
		"\"connections\" and \"requests\"\n"
		"fly.toml:2:47: error: http_service.concurrency.soft_limit is -1; it must be a "
		"whole number from 0 to 2147483647\n"},
	/* autostop */
	{"[http_service]\nauto_stop_machines = \"on\"",
		"fly.toml:2:22: error: http_service.auto_stop_machines is \"on\"; allowed are "
		"\"off\", \"stop\", \"suspend\", true and false; did you mean \"stop\"?\n"},
	{"[http_service]\nauto_stop_machines = 1\nauto_start_machines = \"yes\"",
		"fly.toml:2:22: error: http_service.auto_stop_machines is 1; allowed are \"off\", "
		"\"stop\", \"suspend\", true and false\n"
		"fly.toml:3:23: error: http_service.auto_start_machines is \"yes\"; it must be "
		"true "
		"or false\n"},
	/* process groups */
	{"[processes]\nweb = \"\"\n[http_service]",
		"fly.toml:3:1: error: http_service names no processes, but the file has "
		"[processes]; add processes = [\"web\"]\n"},
	{"[processes]\nweb = \"\"\nworker = \"\"\n[http_service]\nprocesses = [\"wbe\", \"app\"]",
		"fly.toml:5:14: error: http_service.processes[0] is \"wbe\"; the app's process "
		"groups are \"web\" and \"worker\"; did you mean \"web\"?\n"
		"fly.toml:5:21: error: http_service.processes[1] is \"app\"; the app's process "
		"groups are \"web\" and \"worker\"\n"},
	{"[http_service]\nprocesses = \"app\"",
		"fly.toml:2:13: error: http_service.processes is \"app\"; it must be an array of "
		"strings, such as [\"one\", \"two\"]\n"},
	{"[processes]\nweb = 1\n\"a b\" = \"\"",
		"fly.toml:2:7: error: processes.web is 1; it must be a string in quotes\n"
		"fly.toml:3:1: error: processes.a b does not name a process group; a name is "
		"letters, digits, - and _, at most 63\n"},
	{"[[processes]]\nname = \"a\"\n[[processes]]\nname = \"a\"",
		"fly.toml:3:1: error: processes[1] names the process group a again\n"},
	/* the app */
	{"app = \"No\"", "fly.toml:1:7: error: app is \"No\"; an app's name is lower-case letters, "
			 "digits and inner dashes, at most 63\n"},
	{"app = 5", "fly.toml:1:7: error: app is 5; it must be a string in quotes\n"},
	{"app = \"1234567890123456789012345678901234567890123456789012345678901234\"",
		"fly.toml:1:7: error: app is \"1234567890123456789012345678901234567890...\"; an "
		"app's name is lower-case letters, digits and inner dashes, at most 63\n"},
	{"kill_signal = \"SIGFOO\"\nkill_timeout = 301",
		"fly.toml:1:15: error: kill_signal is \"SIGFOO\"; allowed are SIGHUP, SIGINT, "
		"SIGQUIT, SIGKILL, SIGUSR1, SIGUSR2, SIGTERM, SIGSTOP, SIGWINCH\n"
		"fly.toml:2:16: error: kill_timeout is 301; at most 300 seconds are allowed\n"},
	{"kill_timeout = \"10 apples\"",
		"fly.toml:1:16: error: kill_timeout is \"10 apples\"; a duration is a number of "
		"seconds or a string such as \"15s\", \"500ms\" or \"1m30s\"\n"},
	{"[env]\nFLY_REGION = \"x\"\nA = [1]",
		"fly.toml:2:1: error: env.FLY_REGION begins with FLY_; those names are set by the "
		"platform\n"
		"fly.toml:3:5: error: env.A is an array; it must be a string, a number or true or "
		"false\n"},
	{"[env]\n\"\" = 1\n\"a=b\" = 1",
		"fly.toml:2:1: error: env. is no name for a variable; one is not empty and "
		"contains "
		"no \"=\"\n"
		"fly.toml:3:1: error: env.a=b is no name for a variable; one is not empty and "
		"contains no \"=\"\n"},
	/* checks of services: bounds warn */
	{TCP "ports = {port = 80}\n[[services.tcp_checks]]\ninterval = 10\ntimeout = \"2m\"\n"
	     "grace_period = \"-1s\"",
		"fly.toml:6:12: warning: services[0].tcp_checks[0].interval is 10; at least 1s is "
		"possible, 1s is used (a bare number is milliseconds)\n"
		"fly.toml:7:11: warning: services[0].tcp_checks[0].timeout is \"2m\"; at most 60s "
		"is possible, 60s is used\n"
		"fly.toml:8:16: error: services[0].tcp_checks[0].grace_period is \"-1s\"; a "
		"duration cannot be negative\n"},
	{"[[http_service.checks]]\npath = \"up\"\nmethod = \"a b\"\nprotocol = \"ftp\"\nheaders = "
	 "1",
		"fly.toml:2:8: warning: http_service.checks[0].path is \"up\"; a path begins with "
		"\"/\", which is put in front\n"
		"fly.toml:3:10: error: http_service.checks[0].method is \"a b\"; it must be an "
		"HTTP "
		"method such as \"get\" or \"head\"\n"
		"fly.toml:4:12: error: http_service.checks[0].protocol is \"ftp\"; protocols of a "
		"check are \"http\" and \"https\"\n"
		"fly.toml:5:11: error: http_service.checks[0].headers is 1; it must be a table, "
		"such as {Host = \"example.com\"}\n"},
	{"[[http_service.checks]]\nheaders = {A = \"b\\r\\nC: d\"}",
		"fly.toml:2:11: error: http_service.checks[0].headers has a header that HTTP "
		"cannot "
		"carry; names are letters, digits and dashes, values are one line\n"},
	/* [checks]: bounds refuse */
	{"[checks.a]\ntype = \"tcp\"\nport = 80\ninterval = 1999\ntimeout = \"61s\"",
		"fly.toml:4:12: error: checks.a.interval is 1999; 2s to 86400s are allowed (a bare "
		"number is milliseconds)\n"
		"fly.toml:5:11: error: checks.a.timeout is \"61s\"; 1ms to 60s are allowed\n"},
	{"[checks.a]\n[checks.b]\ntype = \"icmp\"\nport = 1",
		"fly.toml:1:1: error: checks.a has no port; add port = 8080, the one to check\n"
		"fly.toml:1:1: error: checks.a has no type; add type = \"http\" or type = \"tcp\"\n"
		"fly.toml:3:8: error: checks.b.type is \"icmp\"; types are \"http\" and \"tcp\"\n"},
	{"[[checks]]\ntype = \"tcp\"\nport = 1",
		"fly.toml:1:1: error: checks[0] has no name; add name = \"NAME\"\n"},
	/* unknown keys */
	{"servces = 1\n[mounts]\nwhatever = 1",
		"fly.toml:1:1: warning: servces is not known and is ignored; did you mean "
		"\"services\"?\n"},
	{TCP "internal_prot = 1\nports = [{prt = 1, port = 80}]",
		"fly.toml:4:1: warning: services[0].internal_prot is not known and is ignored; did "
		"you mean \"internal_port\"?\n"
		"fly.toml:5:11: warning: services[0].ports[0].prt is not known and is ignored; did "
		"you mean \"port\"?\n"},
	{"[http_service]\nxyz = 1\n[http_service.concurrency]\nqqq = 1",
		"fly.toml:2:1: warning: http_service.xyz is not known and is ignored; "
		"known here are \"internal_port\", \"processes\", \"force_https\", "
		"\"auto_stop_machines\", \"auto_start_machines\", \"min_machines_running\", "
		"\"concurrency\", \"tls_options\", \"http_options\", "
		"\"checks\" and 2 others\n"
		"fly.toml:4:1: warning: http_service.concurrency.qqq is not known and is ignored; "
		"known here are \"type\", \"soft_limit\" and \"hard_limit\"\n"},
	{TCP "ports = {port = 80, handlers = [\"tls\", \"http\", \"proxy_proto\"], "
	     "tls_options = {alpm = []}, http_options = {compres = true}, "
	     "proxy_proto_options = {vresion = 1}}",
		"fly.toml:4:79: warning: services[0].ports.tls_options.alpm is not known and is "
		"ignored; did you mean \"alpn\"?\n"
		"fly.toml:4:107: warning: services[0].ports.http_options.compres is not known and "
		"is ignored; did you mean \"compress\"?\n"
		"fly.toml:4:147: warning: services[0].ports.proxy_proto_options.vresion is not "
		"known and is ignored; did you mean \"version\"?\n"},
	{"[[http_service.checks]]\nintreval = 1\n[[http_service.tcp_checks]]\npath = 1\n"
	 "[checks.a]\ntype = \"tcp\"\nport = 1\ngrace = 1",
		"fly.toml:2:1: warning: http_service.checks[0].intreval is not known and is "
		"ignored; did you mean \"interval\"?\n"
		"fly.toml:4:1: warning: http_service.tcp_checks[0].path is not known and is "
		"ignored; known here are \"interval\", \"timeout\", \"grace_period\" and "
		"\"restart_limit\"\n"
		"fly.toml:8:1: warning: checks.a.grace is not known and is ignored; "
		"known here are \"type\", \"port\", \"interval\", \"timeout\", \"grace_period\", "
		"\"method\", \"path\", \"protocol\", \"tls_skip_verify\", "
		"\"tls_server_name\" and 4 others\n"},
	/* not TOML */
	{"app = \"a\"\nkill_timeout =\n",
		"fly.toml:2:15: error: this is not valid TOML: expected value, saw '\\n', in a "
		"key-value pair\n"},
	{"[[[services]]]", "fly.toml:1:3: error: this is not valid TOML: expected the name of a "
			   "section: letters, digits, - and _, or quotes\n"},
	{"a = 1\na = 2", "fly.toml:2:5: error: this is not valid TOML: cannot redefine existing "
			 "integer 'a', in a key-value pair\n"},
	{"a = [1", "fly.toml:1:7: error: this is not valid TOML: the text ends too early, in an "
		   "array\n"},
	{"a = \"\\u0000\"", "fly.toml:1:5: error: this is not valid TOML: the character U+0000 "
			    "stands in a string; leave it out\n"},
	/* udp_checks and affinity */
	{UDP53 "udp_checks = [{}]",
		"fly.toml:5:15: error: services[0].udp_checks[0] has no payload; add payload = "
		"\"ping\", or what else the app answers\n"},
	{UDP53 "udp_checks = [{payload = \"\"}]",
		"fly.toml:5:26: error: services[0].udp_checks[0].payload is empty; write what the "
		"app answers, such as \"ping\"\n"},
	{UDP53 "udp_checks = [{payload = 1}]",
		"fly.toml:5:26: error: services[0].udp_checks[0].payload is 1; it must be a string "
		"in quotes\n"},
	{UDP53 "udp_checks = [{payload = \"hex:7g\"}]",
		"fly.toml:5:26: error: services[0].udp_checks[0].payload is \"hex:7g\"; character "
		"6 is no hexadecimal digit of a byte; after \"hex:\" come two for each, such as "
		"\"hex:70696e67\"\n"},
	{UDP53 "udp_checks = [{payload = \"hex:7 0\"}]",
		"fly.toml:5:26: error: services[0].udp_checks[0].payload is \"hex:7 0\"; character "
		"6 is no hexadecimal digit of a byte; after \"hex:\" come two for each, such as "
		"\"hex:70696e67\"\n"},
	{UDP53 "udp_checks = [{payload = \"hex:706\"}]",
		"fly.toml:5:26: error: services[0].udp_checks[0].payload is \"hex:706\"; after "
		"\"hex:\" come two digits for each byte, such as \"hex:70696e67\"\n"},
	{UDP53 "udp_checks = [{payload = \"a\", expect = \"hex:\"}]",
		"fly.toml:5:40: error: services[0].udp_checks[0].expect is \"hex:\"; after "
		"\"hex:\" come two digits for each byte, such as \"hex:70696e67\"\n"},
	{UDP53 "udp_checks = [{payload = \"a\", port = 0}]",
		"fly.toml:5:38: error: services[0].udp_checks[0].port is 0" PORT_IS ""},
	{UDP53 "udp_checks = [{payload = \"a\", expct = \"b\"}]",
		"fly.toml:5:31: warning: services[0].udp_checks[0].expct is not known and is "
		"ignored; did you mean \"expect\"?\n"},
	{UDP53 "udp_checks = [{payload = \"a\", timeout = \"2m\"}]",
		"fly.toml:5:41: warning: services[0].udp_checks[0].timeout is \"2m\"; at most 60s "
		"is possible, 60s is used\n"},
	{UDP53 "udp_checks = 1", "fly.toml:5:14: error: services[0].udp_checks is 1; it must be a "
				 "table or an array of tables, written [[udp_checks]]\n"},
	{UDP53 "affinity = \"clients\"",
		"fly.toml:5:12: error: services[0].affinity is \"clients\"; affinities are "
		"\"flow\" and \"client\"; did you mean \"client\"?\n"},
	{UDP53 "affinity = 1",
		"fly.toml:5:12: error: services[0].affinity is 1; it must be a string in quotes\n"},
	{UDP "ports = [{start_port = 53, end_port = 59}]\nudp_checks = [{payload = \"a\"}]",
		"fly.toml:5:15: error: services[0].udp_checks[0] has no port, and the service has "
		"several; add port = 53, or another one\n"},
	{UDP "udp_checks = [{payload = \"a\"}]\nports = []",
		"fly.toml:1:1: warning: services[0] has no ports, so nothing reaches it; add "
		"[[services.ports]]\n"
		"fly.toml:4:15: error: services[0].udp_checks[0] has no port, nor has the service; "
		"add port = 53, the one to check\n"},
	{TCP "ports = [{port = 80}]\nudp_checks = [{payload = \"a\"}]",
		"fly.toml:5:1: error: services[0].udp_checks is for UDP services and this one is "
		"TCP; use tcp_checks or http_checks\n"},
	{TCP "ports = [{port = 80}]\naffinity = \"flow\"",
		"fly.toml:5:1: error: services[0].affinity is for UDP services and this one is "
		"TCP; leave it out\n"},
	{"[checks.a]\ntype = \"udp\"\nport = 53",
		"fly.toml:2:8: error: checks.a.type is \"udp\"; types are \"http\" and \"tcp\"; a "
		"UDP check belongs to its service, as [[services.udp_checks]]\n"},
	/* nothing in a report can act on a terminal */
	{"\"a\\u001b[2J\\u0007\\u009b\" = 1",
		"fly.toml:1:1: warning: a?[2J?? is not known and is ignored; known "
		"here "
		"are \"app\", \"primary_region\", \"kill_signal\", \"kill_timeout\", \"env\", "
		"\"processes\", \"http_service\", \"services\", \"checks\", "
		"\"build\" and 18 others\n"},
};

static void each_problem_is_reported_at_its_place(void **state)
{
	bool all_equal = true;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *report _free_ = report_of(rows[i].text, strlen(rows[i].text));

		if (strcmp(report, rows[i].report) == 0)
			continue;
		print_error("%s\ngives\n%sinstead of\n%s\n", rows[i].text, report, rows[i].report);
		all_equal = false;
	}
	assert_true(all_equal);
}

static void all_problems_come_in_one_run_and_in_file_order(void **state)
{
	const char *text =
		"[http_service]\nauto_stop_machines = \"on\"\n\n"
		"[env]\nFLY_A = 1\n\n[[services]]\nprotocol = \"x\"\nports = {port = 0}\n";
	struct diagnostics diags _cleanup_(diagnostics_clear) = {};
	struct app_config *config _cleanup_(config_freep) = NULL;
	static const unsigned int lines[] = {2, 5, 8, 9};

	(void)state;
	assert_int_equal(config_parse(text, strlen(text), "fly.toml", &config, &diags), -EINVAL);
	assert_int_equal(diags.count, ARRAY_LEN(lines));
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		assert_int_equal(diags.items[i].line, lines[i]);
}

static void a_file_of_10_mb_is_refused_by_its_size_alone(void **state)
{
	size_t len = 10 * 1024 * 1024;
	char *text _free_ = malloc(len);
	char *report _free_ = NULL, *just_over _free_ = NULL;

	(void)state;
	assert_non_null(text);
	memset(text, '[', len);
	report = report_of(text, len);
	assert_string_equal(
		report, "fly.toml: error: the file is 10.0 MB; a fly.toml is at most 1 MB\n");
	just_over = report_of(text, CONFIG_MAX_BYTES + 1);
	assert_string_equal(
		just_over, "fly.toml: error: the file is 1.1 MB; a fly.toml is at most 1 MB\n");
}

static void a_file_of_exactly_the_limit_is_read(void **state)
{
	char *text _free_ = malloc(CONFIG_MAX_BYTES);
	char *report _free_ = NULL;

	(void)state;
	assert_non_null(text);
	memset(text, '\n', CONFIG_MAX_BYTES);
	report = report_of(text, CONFIG_MAX_BYTES);
	assert_string_equal(report, "");
}

/* Text made of @piece, repeated up to the limit of size. */
static char *filled_with(const char *piece, size_t *len)
{
	struct buf text = {};

	while (text.len + strlen(piece) <= CONFIG_MAX_BYTES)
		buf_adds(&text, piece);
	*len = text.len;
	return buf_take(&text);
}

static void deep_nesting_is_refused_without_exhausting_the_stack(void **state)
{
	static const char *const pieces[] = {"[", "{", "a.", "a = [", "a = {b = ", "[[", "[a.",
		"\"a\".", "'", "\"\"\"", "[a]\n[a.", "a.b.c.d = {x.y.z = {"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		size_t len;
		char *text _free_ = filled_with(pieces[i], &len);
		char *report _free_ = report_of(text, len);

		assert_non_null(strstr(report, "error: this is not valid TOML"));
	}
}

static void a_report_is_bounded_and_keeps_its_errors(void **state)
{
	struct diagnostics diags _cleanup_(diagnostics_clear) = {};
	struct app_config *config _cleanup_(config_freep) = NULL;
	struct buf many _cleanup_(buf_clear) = {};

	(void)state;
	for (int i = 0; i < 3000; i++)
		buf_addf(&many, "unknown%d = 1\n", i);
	buf_adds(&many, "[http_service]\ninternal_port = 0\n");
	assert_int_equal(config_parse(many.data, many.len, "f", &config, &diags), -EINVAL);
	assert_int_equal(diags.count, 1001);
	assert_string_equal(diags.items[1000].message, "and 2001 more problems");
	assert_int_equal(diagnostics_count(&diags, SEVERITY_ERROR), 1);
}

static void a_udp_check_sends_at_most_1200_bytes(void **state)
{
	char bytes[1201];

	(void)state;
	memset(bytes, 'a', sizeof(bytes));
	for (int len = 1200; len <= 1201; len++) {
		struct buf text _cleanup_(buf_clear) = {};
		char *report _free_ = NULL;

		buf_addf(&text, UDP53 "udp_checks = [{payload = \"%.*s\"}]", len, bytes);
		report = report_of(text.data, text.len);
		assert_string_equal(report,
			len == 1200 ? ""
				    : "fly.toml:5:26: error: services[0].udp_checks[0].payload has "
				      "1201 bytes; at most 1200 are allowed\n");
	}
}

static void random_bytes_never_crash_the_parser(void **state)
{
	static const char likely[] = "[]{}=.,\"'#\n \\tuservicesports0123456789\xc3\xa9\xff";
	uint32_t seed = 2463534242;
	char text[512];

	(void)state;
	for (int round = 0; round < 4000; round++) {
		size_t len = 0;

		for (; len < sizeof(text); len++) {
			seed ^= seed << 13;
			seed ^= seed >> 17;
			seed ^= seed << 5;
			text[len] =
				(char)(round % 2 ? seed : (uint32_t)likely[seed % sizeof(likely)]);
		}
		len = seed % sizeof(text);
		free(report_of(text, len));
	}
}

static void invalid_utf8_and_nul_are_one_clear_error(void **state)
{
	char *utf8 _free_ = report_of("app = \"\xff\"", 9);
	char *nul _free_ = report_of("app\0 = 1", 8);

	(void)state;
	assert_string_equal(utf8, "fly.toml:1:7: error: this is not valid TOML: the bytes behind "
				  "this character are not UTF-8\n");
	assert_non_null(strstr(nul, "fly.toml:1:4: error: this is not valid TOML: expected '='"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_problem_is_reported_at_its_place),
		cmocka_unit_test(all_problems_come_in_one_run_and_in_file_order),
		cmocka_unit_test(a_file_of_10_mb_is_refused_by_its_size_alone),
		cmocka_unit_test(a_file_of_exactly_the_limit_is_read),
		cmocka_unit_test(deep_nesting_is_refused_without_exhausting_the_stack),
		cmocka_unit_test(a_report_is_bounded_and_keeps_its_errors),
		cmocka_unit_test(a_udp_check_sends_at_most_1200_bytes),
		cmocka_unit_test(random_bytes_never_crash_the_parser),
		cmocka_unit_test(invalid_utf8_and_nul_are_one_clear_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

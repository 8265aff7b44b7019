/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image from one podman to another: two storages on this host, the sending one in a child
 * process that answers on loopback, well or badly. Needs root and podman; images are made FROM
 * scratch, so no registry is asked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "../../lib/machine.h"
#include "machine/argv.h"
#include "machine/image_transfer.h"
#include "machine/podman_host.h"

#define NAME_OCI    "localhost/wherry/test:oci"
#define NAME_DOCKER "localhost/wherry/test:docker"

#define IDENTITY "00112233445566778899aabbccddeeff"

static char id_oci[IMAGE_ID_LEN], id_docker[IMAGE_ID_LEN];

static int podman(const char *const words[], char **output, struct err *err)
{
	_cleanup_(argv_clear) struct argv argv = {};

	podman_host_command(&argv);
	for (; *words; words++)
		argv_add(&argv, *words);
	return run_checked(argv_items(&argv), NULL, 60000, output, err);
}

#define PODMAN(output, err, ...) podman((const char *const[]){__VA_ARGS__, NULL}, output, err)

/* From here on podman's storage is that of the host @name. */
static void be_host(const char *name)
{
	char path[PATH_MAX], text[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s.conf", fixture_dir, name);
	snprintf(text, sizeof(text),
		"[storage]\ndriver = \"vfs\"\ngraphroot = \"%s/%s\"\nrunroot = \"%s/%s-run\"\n",
		fixture_dir, name, fixture_dir, name);
	file_replace(path, text, strlen(text), 0600, NULL);
	setenv("CONTAINERS_STORAGE_CONF", path, 1);
}

static void build(const char *name, const char *format, char id[static IMAGE_ID_LEN])
{
	char path[PATH_MAX];
	struct err err = {};

	snprintf(path, sizeof(path), "%s/image", fixture_dir);
	if (PODMAN(NULL, &err, "build", "--isolation=chroot", "--quiet", format, "--tag", name,
		    path) < 0) {
		fprintf(stderr, "%s\n", err.text);
		exit(fixture_end(strstr(err.text, "not installed") ? 77 : 1));
	}
	if (image_store_find(name, id, &err) != 0)
		exit(fixture_end(1));
}

static void build_images(void)
{
	static const char dockerfile[] = "FROM scratch\nCOPY app /app\nCOPY ballast /ballast\n"
					 "CMD [\"/app\", \"print\", \"ready\", \"sleep\"]\n";
	char app[PATH_MAX], path[PATH_MAX + 64];
	_free_ char *ballast = malloc(3 << 20);

	fixture_build_app(app);
	snprintf(path, sizeof(path), "%s/image", fixture_dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/image/app", fixture_dir);
	rename(app, path);
	for (int i = 0; i < 3 << 20; i++)
		ballast[i] = (char)random();
	snprintf(path, sizeof(path), "%s/image/ballast", fixture_dir);
	file_replace(path, ballast, 3 << 20, 0644, NULL);
	snprintf(path, sizeof(path), "%s/image/Dockerfile", fixture_dir);
	file_replace(path, dockerfile, strlen(dockerfile), 0644, NULL);
	build(NAME_OCI, "--format=oci", id_oci);
	build(NAME_DOCKER, "--format=docker", id_docker);
}

/* The sending host */

enum manner {
	WELL,
	BUSY_ONCE,     /* then well */
	CUT,	       /* half of it, and an end that looks like one */
	OTHER_IMAGE,   /* than the one asked for */
	UNKNOWN_IMAGE, /* that podman does not have */
	SILENT,	       /* from the middle on */
	MUTE,	       /* from the start on */
	NOT_OURS,      /* another protocol */
	REFUSING,
};

static void answer_half(int fd)
{
	int pair[2], status;
	pid_t child;
	char chunk[65536];
	ssize_t got;
	size_t left = 1 << 20;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	child = fork();
	if (child == 0) {
		close(pair[0]);
		image_transfer_send(pair[1], id_oci, fixture_dir, NULL);
		_exit(0);
	}
	close(pair[1]);
	while (left &&
		(got = read(pair[0], chunk, left < sizeof(chunk) ? left : sizeof(chunk))) > 0) {
		(void)!write(fd, chunk, (size_t)got);
		left -= (size_t)got;
	}
	close(pair[0]);
	waitpid(child, &status, 0);
}

static int answer(int fd, enum manner manner, unsigned int turn)
{
	char request[IMAGE_TRANSFER_REQUEST_MAX];
	struct image_request wanted;
	size_t len = 0;
	struct err err = {};
	int r = 1;

	while (r == 1) {
		ssize_t got = recv(fd, request + len, sizeof(request) - len, 0);

		if (got <= 0)
			return -EIO;
		len += (size_t)got;
		r = image_transfer_parse(request, len, &wanted);
	}
	if (r < 0 || strcmp(wanted.identity, IDENTITY) != 0)
		return -EBADMSG;
	switch (manner) {
	case BUSY_ONCE:
		if (turn == 0) {
			image_transfer_refuse(fd, NULL);
			return 0;
		}
		/* fallthrough */
	case WELL:
		return image_transfer_send(fd, wanted.id, fixture_dir, &err);
	case OTHER_IMAGE:
		return image_transfer_send(
			fd, strcmp(wanted.id, id_oci) == 0 ? id_docker : id_oci, fixture_dir, &err);
	case UNKNOWN_IMAGE:
		memset(wanted.id, 'e', IMAGE_ID_LEN - 1);
		return image_transfer_send(fd, wanted.id, fixture_dir, &err);
	case CUT:
		answer_half(fd);
		return 0;
	case SILENT:
		answer_half(fd);
		pause();
		return 0;
	case MUTE:
		pause();
		return 0;
	case NOT_OURS:
		(void)!write(fd, "SSH-2.0-OpenSSH_9.2p1\r\n", 23);
		return 0;
	case REFUSING:
		image_transfer_refuse(fd, "no release of the catalog names this image");
		return 0;
	}
	return -EINVAL;
}

/* Returns the process; the port it listens on in *@port. */
static pid_t serve(enum manner manner, uint16_t *port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(addr);
	pid_t child;

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	getsockname(fd, (struct sockaddr *)&addr, &len);
	*port = ntohs(addr.sin_port);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		be_host("builder");
		alarm(60);
		for (unsigned int turn = 0;; turn++) {
			int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

			answer(peer, manner, turn);
			close(peer);
		}
	}
	close(fd);
	return child;
}

static struct image_want want_of(const char *id, const char *name, uint16_t port)
{
	struct image_want want = {.port = port, .stall_ms = 1000, .source_count = 1};

	memcpy(want.id, id, IMAGE_ID_LEN);
	strcpy(want.identity, IDENTITY);
	want.dir = strdup(fixture_dir);
	want.name = strdup(name);
	want.host = strdup("worker-1");
	want.sources[0].host = strdup("edge-1");
	assert_int_equal(addr_parse("127.0.0.1", &want.sources[0].addr), 0);
	want.from = want.sources[0].addr;
	return want;
}

static void end(pid_t child, struct image_want *want)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	image_want_clear(want);
}

/* Every test begins as a worker that has no image. */
static int begin(void **state)
{
	(void)state;
	be_host("worker");
	return PODMAN(NULL, NULL, "rmi", "--all", "--force");
}

static unsigned int image_count(void)
{
	_free_ char *output = NULL;
	unsigned int count = 0;
	struct err err = {};

	fixture_ok(PODMAN(&output, &err, "images", "--all", "--quiet"), &err);
	for (const char *at = output; (at = strchr(at, '\n')); at++)
		count++;
	return count;
}

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* podman's temporary files; those of a sender that was killed are the next daemon's to remove. */
static unsigned int transfer_dirs(void)
{
	_closedir_ DIR *dir = opendir(fixture_dir);
	unsigned int count = 0;
	struct dirent *entry;

	while ((entry = readdir(dir)))
		count += strncmp(entry->d_name, "transfer-", 9) == 0;
	return count;
}

static void a_request_is_one_exact_line(void **state)
{
	static const char good[] = "WHERRY-IMAGE 1 " IDENTITY " sha256:" HEX64 "\n";
	static const char *const bad[] = {
		"GET / HTTP/1.1\r\n",
		"WHERRY-IMAGE 2 " IDENTITY,
		"WHERRY-IMAGE 1  " IDENTITY,
		"WHERRY-IMAGE 1 sha256:",
		"WHERRY-IMAGE 1 #",
		"WHERRY-IMAGE 1 " IDENTITY "0",
		"WHERRY-IMAGE 1 " IDENTITY " sha512:",
		"WHERRY-IMAGE 1 " IDENTITY " sha256:0123456789ABCDEF",
		"WHERRY-IMAGE 1 " IDENTITY " sha256:01\n",
		"WHERRY-IMAGE 1 " IDENTITY " sha256:$(id)",
		"WHERRY-IMAGE 1 " IDENTITY " sha256:--help",
		"WHERRY-IMAGE 1 " IDENTITY " sha256:" HEX64 "0",
		"WHERRY-IMAGE 1 " IDENTITY " sha256:" HEX64 "\r\n",
		"WHERRY-IMAGE 1 " IDENTITY " sha256:" HEX64 "\nmore",
	};
	struct image_request request = {};

	(void)state;
	for (size_t len = 0; len < sizeof(good) - 1; len++) {
		/* A copy of just that length: reading past it would be seen. */
		_free_ char *part = malloc(len ? len : 1);

		memcpy(part, good, len);
		assert_int_equal(image_transfer_parse(part, len, &request), 1);
	}
	assert_string_equal(request.id, "");
	assert_int_equal(image_transfer_parse(good, sizeof(good) - 1, &request), 0);
	assert_string_equal(request.identity, IDENTITY);
	assert_string_equal(request.id, HEX64);
	assert_true(image_id_is_valid(request.id));
	assert_int_equal(image_transfer_parse(good, sizeof(good), &request), -EBADMSG);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (image_transfer_parse(bad[i], strlen(bad[i]), &request) != -EBADMSG)
			fail_msg("taken for a request: %s", bad[i]);
}

static void fetch_and_check(const char *id, const char *name)
{
	char found[IMAGE_ID_LEN] = "";
	struct err err = {};
	uint16_t port;
	pid_t child = serve(WELL, &port);
	struct image_want want = want_of(id, name, port);
	int r;

	assert_int_equal(image_store_has(id, &err), 1);
	r = image_transfer_fetch(&want, &err);
	if (r != 1)
		fail_msg("%d: %s", r, err.text);
	fixture_ok(image_store_find(name, found, &err), &err);
	assert_string_equal(found, id);
	kill(child, SIGKILL);
	/* Here it needs nobody. */
	assert_int_equal(image_transfer_fetch(&want, &err), 0);
	end(child, &want);
}

static void an_image_arrives_with_its_id_and_name_in_either_format(void **state)
{
	(void)state;
	fetch_and_check(id_oci, NAME_OCI);
	fetch_and_check(id_docker, NAME_DOCKER);
}

static void a_machine_runs_the_image_of_the_id_whatever_the_name_means(void **state)
{
	struct machine_spec spec = fixture_spec(1, MACHINE_IMAGE);
	struct machine_net net;
	struct machine_run run;
	struct err err = {};

	(void)state;
	fetch_and_check(id_oci, NAME_OCI);
	spec.app = strdup("test");
	spec.image = strdup("localhost/wherry/test:gone");
	spec.image_id = strdup(id_oci);
	fixture_ok(machine_net_setup(&spec, &net, &err), &err);
	fixture_ok(machine_start(&spec, &run, &err), &err);
	fixture_await_log(&spec, "ready");
	fixture_destroy(&spec);
}

static void a_name_of_another_image_stays_its_own(void **state)
{
	char found[IMAGE_ID_LEN] = "";
	struct err err = {};
	uint16_t port;
	pid_t child;
	struct image_want want;

	(void)state;
	fetch_and_check(id_docker, NAME_DOCKER);
	child = serve(WELL, &port);
	want = want_of(id_oci, NAME_DOCKER, port);
	assert_int_equal(image_transfer_fetch(&want, &err), 1);
	assert_int_equal(image_store_has(id_oci, &err), 0);
	fixture_ok(image_store_find(NAME_DOCKER, found, &err), &err);
	assert_string_equal(found, id_docker);
	end(child, &want);
}

static void only_what_was_fetched_is_forgotten(void **state)
{
	struct err err = {};

	(void)state;
	fetch_and_check(id_oci, NAME_OCI);
	fixture_ok(image_store_forget(id_oci, NAME_OCI, &err), &err);
	assert_int_equal(image_store_has(id_oci, &err), 1);
	assert_int_equal(image_count(), 0);
	assert_int_equal(image_store_forget(id_oci, NAME_OCI, &err), 1);
	be_host("builder");
	assert_int_equal(image_store_forget(id_oci, NAME_OCI, &err), 1);
	assert_int_equal(image_store_has(id_oci, &err), 0);
}

static void one_that_is_busy_is_asked_again(void **state)
{
	struct err err = {};
	uint16_t port;
	pid_t child = serve(BUSY_ONCE, &port);
	struct image_want want = want_of(id_oci, NAME_OCI, port);
	int r = image_transfer_fetch(&want, &err);

	(void)state;
	if (r != 1)
		fail_msg("%d: %s", r, err.text);
	end(child, &want);
}

static void what_goes_wrong_leaves_no_image_and_is_told_in_a_sentence(void **state)
{
	static const struct {
		enum manner manner;
		const char *words;
	} cases[] = {
		{CUT, "what came cannot be loaded: podman load failed"},
		{OTHER_IMAGE, "another image than the one asked for"},
		{UNKNOWN_IMAGE, "podman save failed"},
		{SILENT, "it stopped sending"},
		{MUTE, "it stopped sending"},
		{NOT_OURS, "not one of this protocol"},
		{REFUSING, "no release of the catalog names this image"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = {};
		uint16_t port;
		pid_t child = serve(cases[i].manner, &port);
		struct image_want want = want_of(id_oci, NAME_OCI, port);
		int r;

		/* Long enough for podman, short enough for the test. */
		if (cases[i].manner != SILENT && cases[i].manner != MUTE)
			want.stall_ms = 20000;
		else
			want.stall_ms = 3000;
		r = image_transfer_fetch(&want, &err);
		print_message("%s\n", err.text);
		if (r >= 0 || !strstr(err.text, cases[i].words) ||
			strncmp(err.text,
				"host worker-1 cannot fetch the image " NAME_OCI " from edge-1: ",
				strlen("host worker-1 cannot fetch the image " NAME_OCI
				       " from edge-1: ")) != 0)
			fail_msg("case %zu: %d: %s", i, r, err.text);
		assert_int_equal(image_count(), 0);
		end(child, &want);
	}
}

static void the_next_source_is_asked_when_one_fails(void **state)
{
	struct err err = {};
	uint16_t port;
	pid_t child = serve(WELL, &port);
	struct image_want want = want_of(id_oci, NAME_OCI, port);

	(void)state;
	/* Nobody listens there; it is still this host. */
	want.sources[1] = want.sources[0];
	want.sources[0].host = strdup("edge-0");
	assert_int_equal(addr_parse("127.0.0.2", &want.sources[0].addr), 0);
	want.source_count = 2;
	assert_int_equal(image_transfer_fetch(&want, &err), 1);
	end(child, &want);
}

static void nobody_to_ask_is_told(void **state)
{
	struct image_want want = want_of(id_oci, NAME_OCI, 0);
	struct err err = {};

	(void)state;
	free(want.sources[0].host);
	want.source_count = 0;
	assert_int_equal(image_transfer_fetch(&want, &err), -ENOENT);
	assert_non_null(strstr(err.text, "deploy again"));
	image_want_clear(&want);
}

static void a_receiver_that_leaves_ends_the_transfer(void **state)
{
	int pair[2];
	pid_t child;
	char line[64];
	unsigned int dirs = transfer_dirs();
	int status;

	(void)state;
	be_host("builder");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	child = fork();
	if (child == 0) {
		close(pair[0]);
		alarm(20);
		_exit(image_transfer_send(pair[1], id_oci, fixture_dir, NULL) < 0 ? 3 : 4);
	}
	close(pair[1]);
	assert_true(read(pair[0], line, sizeof(line)) > 0);
	close(pair[0]);
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	assert_int_equal(transfer_dirs(), dirs);
}

static void raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		fixture_skip("cannot set loopback up");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_one_exact_line),
		cmocka_unit_test_setup(
			an_image_arrives_with_its_id_and_name_in_either_format, begin),
		cmocka_unit_test_setup(
			a_machine_runs_the_image_of_the_id_whatever_the_name_means, begin),
		cmocka_unit_test_setup(a_name_of_another_image_stays_its_own, begin),
		cmocka_unit_test_setup(only_what_was_fetched_is_forgotten, begin),
		cmocka_unit_test_setup(one_that_is_busy_is_asked_again, begin),
		cmocka_unit_test_setup(
			what_goes_wrong_leaves_no_image_and_is_told_in_a_sentence, begin),
		cmocka_unit_test_setup(the_next_source_is_asked_when_one_fails, begin),
		cmocka_unit_test_setup(nobody_to_ask_is_told, begin),
		cmocka_unit_test_setup(a_receiver_that_leaves_ends_the_transfer, begin),
	};
	int failed;

	fixture_begin("images");
	signal(SIGPIPE, SIG_IGN);
	raise_loopback();
	be_host("builder");
	build_images();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	return fixture_end(failed);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of a transfer; see image_transfer.h. Nothing is kept in between: podman writes into a
 * pipe or reads from one, and the bytes pass through this process uninterpreted. Each wait has an
 * end, so that a host that died or a podman that hangs costs a thread half a minute.
 */
#include "machine/image_transfer.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/run.h"
#include "machine/podman_host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define GREETING "WHERRY-IMAGE 1 "

#define CONNECT_TIMEOUT_MS 5000
#define STALL_TIMEOUT_MS   30000
#define WAIT_INTERVAL_MS   5000	  /* between two "wait"; well below the other side's patience */
#define PREPARE_TIMEOUT_MS 600000 /* podman's, to the first byte; and to the end of a load */
#define EXIT_TIMEOUT_MS	   10000
#define BUSY_INTERVAL_MS   2000
#define BUSY_TIMEOUT_MS	   900000
#define LINE_MAX_BYTES	   512
#define CHUNK_BYTES	   (256 * 1024)
#define PIPE_BYTES	   (1024 * 1024)

/* What each byte of the request's line is: itself, or # for a hexadecimal digit. */
static const char form[] =
	"WHERRY-IMAGE 1 ################################ "
	"sha256:################################################################\n";
#define FORM_IDENTITY (sizeof(GREETING) - 1)
#define FORM_ID	      (sizeof(form) - 1 - IMAGE_ID_LEN)

int image_transfer_parse(const char *data, size_t len, struct image_request *out)
{
	const size_t line_len = sizeof(form) - 1;

	/* Nothing may follow the line. */
	if (len > line_len)
		return -EBADMSG;
	for (size_t i = 0; i < len; i++) {
		if (form[i] == '#' ? !memchr("0123456789abcdef", data[i], 16) : data[i] != form[i])
			return -EBADMSG;
	}
	if (len < line_len)
		return 1;
	*out = (struct image_request){};
	memcpy(out->identity, data + FORM_IDENTITY, HOST_IDENTITY_LEN - 1);
	memcpy(out->id, data + FORM_ID, IMAGE_ID_LEN - 1);
	return 0;
}

void image_transfer_refuse(int fd, const char *sentence)
{
	char line[LINE_MAX_BYTES];

	if (sentence)
		snprintf(line, sizeof(line) - 1, GREETING "error %s", sentence);
	else
		snprintf(line, sizeof(line) - 1, GREETING "busy");
	strcat(line, "\n");
	/* The buffer of a new connection is empty; one that is gone need not know. */
	(void)!send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* podman and its streams */

struct child {
	pid_t pid; /* 0: none */
	int pipe;  /* our end */
	int output, errors;
	char dir[PATH_MAX]; /* for its temporary files; "": none */
};

#define CHILD_NONE                                                                                 \
	{                                                                                          \
		.pipe = -1, .output = -1, .errors = -1                                             \
	}

static void child_end(struct child *child)
{
	int status;

	mem_closep(&child->pipe);
	mem_closep(&child->output);
	mem_closep(&child->errors);
	if (child->pid) {
		kill(child->pid, SIGKILL);
		run_wait(child->pid, EXIT_TIMEOUT_MS, &status);
	}
	if (child->dir[0])
		file_remove_all(child->dir, NULL);
}

/* podman leaves its temporary files behind when it fails or is killed: they get a place of their
 * own.
 */
static int podman_command(struct child *child, const char *dir, struct argv *argv, struct err *err)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/transfer-XXXXXX", dir);
	if (!mkdtemp(path))
		return err_errno(err, -errno, "cannot make a directory in %s", dir);
	strcpy(child->dir, path);
	argv_add(argv, "env");
	argv_addf(argv, "TMPDIR=%s", path);
	podman_host_command(argv);
	return 0;
}

/* With our end of a pipe as its standard input (@is_input) or output. */
static int child_start(struct child *child, const struct argv *argv, bool is_input, struct err *err)
{
	_close_ int theirs = -1, null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int ends[2];

	child->output = memfd_create("output", MFD_CLOEXEC);
	child->errors = memfd_create("errors", MFD_CLOEXEC);
	if (null < 0 || child->output < 0 || child->errors < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "cannot run podman");
	child->pipe = ends[is_input];
	theirs = ends[!is_input];
	/* What an unprivileged one may not have is as good with less. */
	fcntl(child->pipe, F_SETPIPE_SZ, PIPE_BYTES);
	if (is_input)
		fcntl(child->pipe, F_SETFL, O_NONBLOCK);
	return run_start(argv_items(argv), is_input ? theirs : null,
		is_input ? child->output : theirs, child->errors, &child->pid, err);
}

/* The last line that it wrote there, without "Error: " and control characters. */
static void last_line(int fd, char *text, size_t size)
{
	off_t end = lseek(fd, 0, SEEK_END), from = end > (off_t)size ? end - (off_t)size + 1 : 0;
	ssize_t got = pread(fd, text, size - 1, from);
	char *line;

	text[got > 0 ? got : 0] = '\0';
	for (size_t len = strlen(text); len && (text[len - 1] == '\n' || text[len - 1] == ' ');)
		text[--len] = '\0';
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	if (strncmp(line, "Error: ", 7) == 0)
		line += 7;
	memmove(text, line, strlen(line) + 1);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
}

static int child_wait(
	struct child *child, const char *what, unsigned int timeout_ms, struct err *err)
{
	char words[256];
	int status, r;

	r = run_wait(child->pid, timeout_ms, &status);
	child->pid = 0;
	if (r < 0)
		return err_errno(err, r, "podman %s does not end", what);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	last_line(child->errors, words, sizeof(words));
	return err_set(err, -EIO, "podman %s failed: %s", what, *words ? words : "no reason given");
}

/* The sending side */

static int say(int fd, const char *word)
{
	char line[LINE_MAX_BYTES];

	snprintf(line, sizeof(line), GREETING "%s\n", word);
	return send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line) ? 0 : -EPIPE;
}

/* Until podman's first byte, or its end. The other side hears that it is worth waiting. */
static int await_archive(int fd, const struct child *podman, struct err *err)
{
	const uint64_t deadline_ms = clock_now_ms() + PREPARE_TIMEOUT_MS;

	while (clock_now_ms() < deadline_ms) {
		struct pollfd fds[] = {
			{.fd = podman->pipe, .events = POLLIN}, {.fd = fd, .events = POLLRDHUP}};
		int ready = poll(fds, 2, WAIT_INTERVAL_MS);

		if (ready > 0 && fds[0].revents)
			return fds[0].revents & POLLIN ? 0 : 1;
		if (ready > 0 && fds[1].revents)
			return err_set(err, -ECONNRESET, "the other side hung up");
		if (ready == 0 && say(fd, "wait") < 0)
			return err_set(err, -EPIPE, "the other side is gone");
	}
	return err_set(err, -ETIMEDOUT, "podman save does not begin");
}

static int send_archive(int fd, const struct child *podman, struct err *err)
{
	for (;;) {
		struct pollfd ready = {.fd = podman->pipe, .events = POLLIN};
		ssize_t moved;

		if (poll(&ready, 1, PREPARE_TIMEOUT_MS) == 0)
			return err_set(err, -ETIMEDOUT, "podman save stalls");
		moved = splice(podman->pipe, NULL, fd, NULL, PIPE_BYTES, SPLICE_F_MOVE);
		if (moved == 0)
			return 0;
		if (moved < 0 && errno == EAGAIN)
			return err_set(err, -ETIMEDOUT, "the other side takes nothing for %d s",
				STALL_TIMEOUT_MS / 1000);
		if (moved < 0 && errno != EINTR)
			return err_errno(err, -errno, "the connection broke");
	}
}

static int save(int fd, struct child *podman, const char *id, const char *dir, struct err *err)
{
	_cleanup_(argv_clear) struct argv argv = {};
	int r = podman_command(podman, dir, &argv, err);

	if (r < 0)
		return r;
	argv_add(&argv, "save");
	argv_add(&argv, "--format=docker-archive");
	argv_add(&argv, "--");
	argv_add(&argv, id);
	r = child_start(podman, &argv, false, err);
	if (r == 0)
		r = await_archive(fd, podman, err);
	if (r == 1) {
		r = child_wait(podman, "save", EXIT_TIMEOUT_MS, err);
		return r < 0 ? r : err_set(err, -EIO, "podman save wrote nothing");
	}
	return r;
}

int image_transfer_send(int fd, const char *id, const char *dir, struct err *err)
{
	const struct timeval stall = {.tv_sec = STALL_TIMEOUT_MS / 1000};
	const unsigned int dead_ms = STALL_TIMEOUT_MS;
	const struct linger reset = {.l_onoff = 1};
	_cleanup_(child_end) struct child podman = CHILD_NONE;
	int r;

	fcntl(fd, F_SETFL, 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof(dead_ms));
	r = save(fd, &podman, id, dir, err);
	if (r < 0) {
		image_transfer_refuse(fd, err->text);
		return r;
	}
	r = say(fd, "ok");
	if (r == 0)
		r = send_archive(fd, &podman, err);
	else
		err_set(err, r, "the other side is gone");
	if (r == 0)
		r = child_wait(&podman, "save", EXIT_TIMEOUT_MS, err);
	/* An end that looks like one only after a whole archive. */
	if (r < 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	else
		shutdown(fd, SHUT_WR);
	return r;
}

/* The fetching side */

static socklen_t to_sockaddr(
	const struct addr *addr, uint16_t port, struct sockaddr_storage *storage)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)storage;
	struct sockaddr_in *v4 = (struct sockaddr_in *)storage;

	*storage = (struct sockaddr_storage){.ss_family = addr->family};
	if (addr->family == AF_INET6) {
		v6->sin6_port = htons(port);
		memcpy(&v6->sin6_addr, addr->bytes, 16);
		return sizeof(*v6);
	}
	v4->sin_port = htons(port);
	memcpy(&v4->sin_addr, addr->bytes, 4);
	return sizeof(*v4);
}

/* Returns the connected socket. */
static int dial(const struct image_want *want, const struct image_source *source, struct err *err)
{
	const uint16_t port = want->port ? want->port : IMAGE_TRANSFER_PORT;
	_close_ int fd = socket(source->addr.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const unsigned int stall_ms = want->stall_ms ? want->stall_ms : STALL_TIMEOUT_MS;
	const struct timeval stall = {.tv_sec = stall_ms / 1000, .tv_usec = stall_ms % 1000 * 1000};
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	struct sockaddr_storage addr;
	socklen_t len = to_sockaddr(&want->from, 0, &addr);
	int code = 0;

	/* The other side knows this host by its address on the mesh. */
	if (fd < 0 || (want->from.family && bind(fd, (struct sockaddr *)&addr, len) < 0))
		return err_errno(err, -errno, "cannot make a connection");
	len = to_sockaddr(&source->addr, port, &addr);
	if (connect(fd, (struct sockaddr *)&addr, len) < 0) {
		if (errno != EINPROGRESS)
			return err_errno(err, -errno, "no connection over the mesh");
		if (poll(&ready, 1, CONNECT_TIMEOUT_MS) <= 0)
			return err_set(err, -ETIMEDOUT, "no connection over the mesh within %d s",
				CONNECT_TIMEOUT_MS / 1000);
	}
	len = sizeof(code);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len);
	if (code)
		return err_errno(err, -code, "no connection over the mesh");
	fcntl(fd, F_SETFL, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof(stall));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall));
	return take_fd(fd);
}

static int broken(ssize_t got, struct err *err)
{
	if (got == 0)
		return err_set(err, -ECONNRESET, "the connection ended early");
	if (errno == EAGAIN)
		return err_set(err, -ETIMEDOUT, "it stopped sending");
	return err_errno(err, -errno, "the connection broke");
}

/* One line without its newline; what follows it stays in the socket. */
static int read_line(int fd, char line[static LINE_MAX_BYTES], struct err *err)
{
	for (size_t len = 0; len < LINE_MAX_BYTES - 1; len++) {
		ssize_t got = recv(fd, &line[len], 1, 0);

		if (got <= 0)
			return broken(got, err);
		if (line[len] == '\n') {
			line[len] = '\0';
			return 0;
		}
		if ((unsigned char)line[len] < ' ' || line[len] == 127)
			break;
	}
	return err_set(err, -EBADMSG, "its answer is not one of this protocol");
}

/* Asks, and reads answers up to the one that decides. 1: ask again later. */
static int ask(int fd, const struct image_want *want, struct err *err)
{
	const size_t begin = sizeof(GREETING) - 1;
	char line[LINE_MAX_BYTES];

	snprintf(line, sizeof(line), "%s sha256:%s", want->identity, want->id);
	if (say(fd, line) < 0)
		return err_set(err, -EPIPE, "the connection ended early");
	for (;;) {
		int r = read_line(fd, line, err);

		if (r < 0)
			return r;
		if (strcmp(line, GREETING "ok") == 0)
			return 0;
		if (strcmp(line, GREETING "busy") == 0)
			return 1;
		if (strncmp(line, GREETING "error ", begin + 6) == 0)
			return err_set(err, -EREMOTEIO, "%s", line + begin + 6);
		if (strcmp(line, GREETING "wait") != 0)
			return err_set(err, -EBADMSG, "its answer is not one of this protocol");
	}
}

/* 1: podman reads no more, it will say why. */
static int feed(int pipe, const char *data, size_t len, struct err *err)
{
	while (len) {
		struct pollfd ready = {.fd = pipe, .events = POLLOUT};
		ssize_t put = write(pipe, data, len);

		if (put >= 0) {
			data += put;
			len -= (size_t)put;
			continue;
		}
		if (errno == EPIPE)
			return 1;
		if (errno != EAGAIN && errno != EINTR)
			return err_errno(err, -errno, "cannot pass it on to podman");
		if (poll(&ready, 1, STALL_TIMEOUT_MS) == 0)
			return err_set(err, -ETIMEDOUT, "podman load takes nothing for %d s",
				STALL_TIMEOUT_MS / 1000);
	}
	return 0;
}

static int receive(int fd, const struct child *podman, struct err *err)
{
	_free_ char *chunk = malloc(CHUNK_BYTES);
	int r = 0;

	if (!chunk)
		return err_errno(err, -ENOMEM, "cannot receive");
	while (r == 0) {
		ssize_t got = recv(fd, chunk, CHUNK_BYTES, 0);

		if (got == 0)
			return 0;
		if (got < 0)
			return broken(got, err);
		r = feed(podman->pipe, chunk, (size_t)got, err);
	}
	return r < 0 ? r : 0;
}

/* What came and is not what was asked for is not to stay. */
static void remove_loaded(const struct child *podman)
{
	_cleanup_(argv_clear) struct argv argv = {};
	char line[256];

	last_line(podman->output, line, sizeof(line));
	if (strncmp(line, "Loaded image: sha256:", 21) != 0 || !image_id_is_valid(line + 21))
		return;
	podman_host_command(&argv);
	argv_add(&argv, "rmi");
	argv_add(&argv, "--");
	argv_add(&argv, line + 21);
	run_checked(argv_items(&argv), NULL, PREPARE_TIMEOUT_MS, NULL, NULL);
}

static int load(int fd, const struct image_want *want, struct err *err)
{
	_cleanup_(child_end) struct child podman = CHILD_NONE;
	_cleanup_(argv_clear) struct argv argv = {};
	int r = podman_command(&podman, want->dir, &argv, err);

	if (r < 0)
		return r;
	argv_add(&argv, "load");
	argv_add(&argv, "--quiet");
	r = child_start(&podman, &argv, true, err);
	if (r == 0)
		r = receive(fd, &podman, err);
	if (r < 0)
		return r;
	close(take_fd(podman.pipe));
	r = child_wait(&podman, "load", PREPARE_TIMEOUT_MS, err);
	if (r < 0)
		return err_wrap(err, r, "what came cannot be loaded");
	r = image_store_has(want->id, err);
	if (r != 1)
		return r;
	remove_loaded(&podman);
	return err_set(err, -EBADMSG, "what came is another image than the one asked for");
}

static int fetch_from(
	const struct image_want *want, const struct image_source *source, struct err *err)
{
	const uint64_t deadline_ms = clock_now_ms() + BUSY_TIMEOUT_MS;
	int r;

	for (;;) {
		_close_ int fd = dial(want, source, err);

		if (fd < 0)
			return fd;
		r = ask(fd, want, err);
		if (r == 0)
			return load(fd, want, err);
		if (r < 0)
			return r;
		if (clock_now_ms() >= deadline_ms)
			return err_set(err, -EBUSY, "it is busy with other transfers");
		nanosleep(&(struct timespec){.tv_sec = BUSY_INTERVAL_MS / 1000}, NULL);
	}
}

int image_transfer_fetch(const struct image_want *want, struct err *err)
{
	int r = image_store_has(want->id, err);

	if (r <= 0)
		return r;
	r = err_set(err, -ENOENT,
		"host %s cannot fetch the image %s: no host that has it is in the fleet any more; "
		"deploy again",
		want->host, want->name);
	for (size_t i = 0; i < want->source_count; i++) {
		r = fetch_from(want, &want->sources[i], err);
		if (r == 0)
			r = image_store_keep(want->id, want->name, err);
		if (r == 0)
			return 1;
		err_wrap(err, r, "host %s cannot fetch the image %s from %s", want->host,
			want->name, want->sources[i].host);
	}
	return r;
}

void image_want_clear(struct image_want *want)
{
	for (size_t i = 0; i < want->source_count; i++)
		free(want->sources[i].host);
	free(want->name);
	free(want->host);
	free(want->dir);
	*want = (struct image_want){};
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An etcd of one member for a test: its own directory, in memory where there is such a file system,
 * and two free ports of 127.0.0.1. It dies with the test.
 */
#pragma once

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

struct etcd_server {
	char dir[48];
	int port, peer_port;
	const char *tls_dir; /* with ca.pem, server.pem, server.key; NULL: without TLS */
	const char *txn_ops; /* --max-txn-ops; NULL: the default */
	pid_t pid;
};

static inline int etcd_server_free_port(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 ||
		getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		abort();
	close(fd);
	return ntohs(addr.sin_port);
}

static inline size_t etcd_server_discard(char *data, size_t size, size_t count, void *arg)
{
	(void)data, (void)arg;
	return size * count;
}

/* Posts @body to the JSON gateway, unencrypted. Returns the HTTP status, 0 for no answer. */
static inline long etcd_server_post(
	const struct etcd_server *server, const char *path, const char *body)
{
	CURL *curl = curl_easy_init();
	char url[128];
	long status = 0;

	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", server->port, path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, etcd_server_discard);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	if (curl_easy_perform(curl) == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	return status;
}

static inline void etcd_server_exec(const struct etcd_server *server)
{
	const char *scheme = server->tls_dir ? "https" : "http";
	char data[96], client[64], peer[64], cluster[80], ca[128], cert[128], key[128], log[96];
	const char *argv[40] = {"etcd", "--name", "one", "--data-dir", data, "--listen-client-urls",
		client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
		"--max-request-bytes", "16777216", "--log-level", "error", "--max-txn-ops",
		server->txn_ops ? server->txn_ops : "128"};
	int argc = 21, fd;

	snprintf(data, sizeof(data), "%s/data", server->dir);
	snprintf(client, sizeof(client), "%s://127.0.0.1:%d", scheme, server->port);
	snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", server->peer_port);
	snprintf(cluster, sizeof(cluster), "one=%s", peer);
	snprintf(log, sizeof(log), "%s/log", server->dir);
	if (server->tls_dir) {
		snprintf(ca, sizeof(ca), "--trusted-ca-file=%s/ca.pem", server->tls_dir);
		snprintf(cert, sizeof(cert), "--cert-file=%s/server.pem", server->tls_dir);
		snprintf(key, sizeof(key), "--key-file=%s/server.key", server->tls_dir);
		argv[argc++] = ca;
		argv[argc++] = cert;
		argv[argc++] = key;
		argv[argc++] = "--client-cert-auth";
	}
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(126);
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

static inline bool etcd_server_listens(const struct etcd_server *server)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)server->port),
		.sin_addr.s_addr = htonl(0x7f000001)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool listens = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;

	close(fd);
	return listens;
}

/* Starts it, on what it had before when it was started before. Returns whether it answers. */
static inline bool etcd_server_start(struct etcd_server *server)
{
	if (!server->dir[0]) {
		strcpy(server->dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/wherry-etcd-XXXXXX"
								  : "/tmp/wherry-etcd-XXXXXX");
		if (!mkdtemp(server->dir))
			return false;
		server->port = etcd_server_free_port();
		server->peer_port = etcd_server_free_port();
	}
	server->pid = fork();
	if (server->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		etcd_server_exec(server);
	}
	for (int i = 0; i < 200; i++) {
		int status;

		if (waitpid(server->pid, &status, WNOHANG) != 0) {
			server->pid = 0;
			return false;
		}
		/* It listens when it has joined; with TLS the store under test asks the rest. */
		if (etcd_server_listens(server) &&
			(server->tls_dir || etcd_server_post(server, "/v3/kv/range",
						    "{\"key\":\"YQ==\"}") == 200))
			return true;
		usleep(50000);
	}
	return false;
}

static inline void etcd_server_kill(struct etcd_server *server)
{
	if (server->pid > 0) {
		kill(server->pid, SIGKILL);
		waitpid(server->pid, NULL, 0);
	}
	server->pid = 0;
}

/* As a machine whose disk was exchanged: the next start begins at revision 1. */
static inline void etcd_server_forget(struct etcd_server *server)
{
	char data[64];

	snprintf(data, sizeof(data), "%s/data", server->dir);
	file_remove_all(data, NULL);
}

static inline void etcd_server_remove(struct etcd_server *server)
{
	etcd_server_kill(server);
	if (server->dir[0])
		file_remove_all(server->dir, NULL);
	server->dir[0] = '\0';
}

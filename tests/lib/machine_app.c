/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that machine tests run, static so that an image FROM scratch can hold it. Its
 * arguments are a script, done in order:
 *   print TEXT     a line to standard output
 *   cat FILE       a file to standard output
 *   env            the environment, one line a variable
 *   host           the host name and the working directory
 *   mtu            eth0's MTU
 *   fill MB        so many MiB of lines of 100 bytes
 *   fork           the rest is done by a child; the parent, which handles no signal, waits for it
 *                  and exits with 5: a shell that passes nothing on
 *   spawn          a child that sleeps for ever; the rest is done by the parent
 *   handle SIGNAL  on the signal: print "bye", work 300 ms, print "done", exit 0
 *   ignore SIGNAL
 *   sleep          for ever
 *   raise SIGNAL
 *   exit CODE
 */
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void say(const char *text)
{
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		_exit(99);
}

static void handle(int signo)
{
	(void)signo;
	say("bye\n");
	nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
	say("done\n");
	_exit(0);
}

static void cat(const char *path)
{
	char chunk[4096];
	FILE *f = fopen(path, "r");
	size_t got;

	if (!f)
		printf("no %s\n", path);
	while (f && (got = fread(chunk, 1, sizeof(chunk), f)))
		fwrite(chunk, 1, got, stdout);
	if (f)
		fclose(f);
}

static void print_mtu(void)
{
	struct ifreq request = {.ifr_name = "eth0"};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	ioctl(fd, SIOCGIFMTU, &request);
	printf("mtu %d\n", request.ifr_mtu);
	close(fd);
}

static void print_host(void)
{
	char host[256], dir[4096];

	gethostname(host, sizeof(host));
	printf("host %s\ncwd %s\n", host, getcwd(dir, sizeof(dir)));
}

static void fill(int mib)
{
	char line[101];

	memset(line, 'x', 99);
	memcpy(line + 99, "\n", 2);
	for (long i = 0; i < mib * 1048576L / 100; i++)
		fputs(line, stdout);
}

static int fork_rest(void)
{
	pid_t pid = fork();

	if (pid == 0)
		return 0;
	waitpid(pid, NULL, 0);
	say("parent\n");
	exit(5);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *next = argv[i + 1];

		if (strcmp(argv[i], "print") == 0)
			puts(argv[++i]);
		else if (strcmp(argv[i], "cat") == 0)
			cat(argv[++i]);
		else if (strcmp(argv[i], "env") == 0)
			for (char **env = environ; *env; env++)
				printf("env %s\n", *env);
		else if (strcmp(argv[i], "host") == 0)
			print_host();
		else if (strcmp(argv[i], "mtu") == 0)
			print_mtu();
		else if (strcmp(argv[i], "fill") == 0)
			fill(atoi(argv[++i]));
		else if (strcmp(argv[i], "handle") == 0)
			signal(atoi(argv[++i]), handle);
		else if (strcmp(argv[i], "ignore") == 0)
			signal(atoi(argv[++i]), SIG_IGN);
		else if (strcmp(argv[i], "exit") == 0)
			exit(atoi(next));
		fflush(stdout);
		if (strcmp(argv[i], "fork") == 0)
			fork_rest();
		if (strcmp(argv[i], "spawn") == 0 && fork() == 0)
			pause();
		if (strcmp(argv[i], "raise") == 0)
			raise(atoi(argv[++i]));
		while (strcmp(argv[i], "sleep") == 0)
			pause();
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a program as on a kernel without BPF programs:  nobpf all|load PROGRAM ARG...
 *   all    bpf(2) is not there (CONFIG_BPF_SYSCALL is off): ENOSYS
 *   load   no program is accepted (an unknown program type): EINVAL
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field)		  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_UNLESS(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (count))
#define RETURN(value)		  BPF_STMT(BPF_RET | BPF_K, (value))

int main(int argc, char **argv)
{
	struct sock_filter all[] = {
		LOAD(nr),
		SKIP_UNLESS(SYS_bpf, 1),
		RETURN(SECCOMP_RET_ERRNO | ENOSYS),
		RETURN(SECCOMP_RET_ALLOW),
	};
	struct sock_filter load[] = {
		LOAD(nr),
		SKIP_UNLESS(SYS_bpf, 3),
		LOAD(args[0]),
		SKIP_UNLESS(BPF_PROG_LOAD, 1),
		RETURN(SECCOMP_RET_ERRNO | EINVAL),
		RETURN(SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(all) / sizeof(*all), all};

	if (argc < 3) {
		fputs("nobpf all|load PROGRAM ARG...\n", stderr);
		return 2;
	}
	if (strcmp(argv[1], "load") == 0)
		program = (struct sock_fprog){sizeof(load) / sizeof(*load), load};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
		perror("seccomp");
		return 77;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}

/* A runtime that does nothing: what is left of a start or an exec under a shim is containerd's, the shim's and the client's.
 *
 *     gcc -O2 -static -o null integration/bench/c/null.c
 *     contrib/bench BRISK --only shims --runtime null=./null --runtime brisk=BRISK
 *
 * (The first runtime is measured with brisk's shim, too.) create forks a process, which waits for SIGUSR1 and ends, or, where
 * config.json has the 1000000 seconds of the benchmark, stays; start and kill send it a signal; exec is a process that ends. It has
 * no namespaces, no root, no cgroup, no hooks, and looks at no error that only a broken benchmark could make. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *option(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc - 1; i++)
		if (!strcmp(argv[i], name))
			return argv[i + 1];
	return NULL;
}

static void put(const char *path, int pid)
{
	char text[16];
	int length = sprintf(text, "%d", pid);
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (file < 0 || write(file, text, length) != length)
		_exit(1);
	close(file);
}

static int get(const char *path)
{
	char text[16] = "";
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0 || read(file, text, sizeof text - 1) < 0)
		_exit(1);
	close(file);
	return atoi(text);
}

static void woken(int signal)
{
	(void)signal;
}

static void make(const char *root)
{
	char path[256];
	snprintf(path, sizeof path, "%s/", root);
	for (char *end = path + 1; (end = strchr(end, '/')); *end++ = '/') {
		*end = 0;
		mkdir(path, 0700);
	}
}

static int create(const char *root, const char *bundle, const char *pid_file, const char *own)
{
	static char text[1 << 16];
	char config[512];
	snprintf(config, sizeof config, "%s/config.json", bundle);
	int file = open(config, O_RDONLY | O_CLOEXEC);
	if (file < 0 || read(file, text, sizeof text - 1) < 0)
		return 1;
	close(file);
	sigset_t usr1, before;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, &before);
	signal(SIGUSR1, woken);
	int pid = fork();
	if (pid == 0) {
		sigsuspend(&before);
		while (strstr(text, "1000000"))
			pause();
		_exit(0);
	}
	make(root);
	put(own, pid);
	put(pid_file, pid);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = NULL, *root = option(argc, argv, "--root"), *pid_file = option(argc, argv, "--pid-file");
	for (int i = 1; i < argc && !verb; i++)
		if (strstr(" create start kill delete exec ", argv[i]) && argv[i][0] != '/')
			verb = argv[i];
	if (!verb || !root)
		return 0;
	char own[512];
	snprintf(own, sizeof own, "%s/%s", root, argv[!strcmp(verb, "kill") ? argc - 2 : argc - 1]);
	if (!strcmp(verb, "create"))
		return create(root, option(argc, argv, "--bundle"), pid_file, own);
	if (!strcmp(verb, "start"))
		return kill(get(own), SIGUSR1) != 0;
	if (!strcmp(verb, "kill"))
		return kill(get(own), atoi(argv[argc - 1])) != 0;
	if (!strcmp(verb, "exec")) {
		int pid = fork();
		if (pid == 0)
			_exit(0);
		put(pid_file, pid);
		return 0;
	}
	return unlink(own) != 0;
}

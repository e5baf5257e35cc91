/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sim - run scenarios from seeds, or scripts
 *
 *   sim [--rings] --seeds N [--from M]   each in a process of its own
 *   sim [--rings] --seed N [-v] [-x]     one, with a trace
 *   sim [-v] --script FILE...  scripts
 *   sim --lossy                what losses cost: a table
 *   sim --beside               questions, answers beside bulk: what goes first
 *   sim --work NAME N IDLE     the same each time, to count instructions
 */
#include "log.h"
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CPU_SECONDS = 20 };

/* LeakSanitizer has nothing to say about processes that end like ours */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static int usage(void)
{
	fputs("usage: sim [--rings] [--host] [--control] [--policy] [--splice] "
	      "--seeds N [--from M] | "
	      "the same --seed N [-v] [-x] | "
	      "[-v] --script FILE... | --lossy | --beside | "
	      "--work NAME N IDLE\n", stderr);
	return 2;
}

/* In a child, so that a crash or a hang fails one of them only */
static bool alone(void (*fn)(const void *arg), const void *arg,
		  const char *name)
{
	struct rlimit cpu = { CPU_SECONDS, CPU_SECONDS };
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_CPU, &cpu);
		fn(arg);
		fflush(NULL);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s: ended by signal %d%s\n", name,
			WTERMSIG(status),
			WTERMSIG(status) == SIGKILL ||
			WTERMSIG(status) == SIGXCPU ? " (a hang)" : "");
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static void seed_in_child(const void *arg)
{
	run_seed(*(const uint64_t *)arg);
}

static void script_in_child(const void *arg)
{
	run_script(arg);
}

static int many_seeds(uint64_t from, uint64_t n, const char *self)
{
	uint64_t seed, bad = 0;
	char name[40];

	for (seed = from; seed < from + n; seed++) {
		snprintf(name, sizeof(name), "seed %llu",
			 (unsigned long long)seed);
		sim.name = name;
		if (!alone(seed_in_child, &seed, name)) {
			bad++;
			printf("failed: %s%s%s%s%s%s --seed %llu -v\n", self,
			       sim.rings ? " --rings" : "",
			       sim.host ? " --host" : "",
			       sim.control ? " --control" : "",
			       sim.policy ? " --policy" : "",
			       sim.splice ? " --splice" : "",
			       (unsigned long long)seed);
		}
	}
	printf("%llu seeds, %llu failed\n", (unsigned long long)n,
	       (unsigned long long)bad);
	return bad ? 1 : 0;
}

static void lossy_in_child(const void *arg)
{
	run_lossy(*(const unsigned *)arg, false);
}

static int table_of_losses(void)
{
	unsigned i, bad = 0;

	sim.name = "lossy";
	for (i = 0; run_lossy(i, true); i++)
		bad += !alone(lossy_in_child, &i, "lossy");
	return bad ? 1 : 0;
}

static int many_scripts(int n, char **path)
{
	int i, bad = 0;

	for (i = 0; i < n; i++)
		bad += !alone(script_in_child, path[i], path[i]);
	printf("%d scripts, %d failed\n", n, bad);
	return bad ? 1 : 0;
}

static void beside_in_child(const void *arg)
{
	if (!run_beside(*(const unsigned *)arg))
		sim_fail("too much");
}

static void turns_in_child(const void *arg)
{
	if (!run_turns(*(const unsigned *)arg, false))
		sim_fail("too many");
}

static int beside_all(void)
{
	static const unsigned bulk[] = { 1, 30, 300 };
	unsigned i, bad = 0;

	sim.name = "beside";
	for (i = 0; i < ARRAY_SIZE(bulk); i++)
		bad += !alone(beside_in_child, &bulk[i], "beside");
	for (i = 0; run_turns(i, true); i++)
		bad += !alone(turns_in_child, &i, "beside");
	return bad ? 1 : 0;
}

static bool is(const char *a, const char *b)
{
	return !strcmp(a, b);
}

int main(int argc, char **argv)
{
	uint64_t from = 1, n = 0, seed = 0;
	bool one = false, many = false;
	int i;

	log_init("sim");
	log_level(LOG_ERROR);
	log_stderr(false); /* clients make errors */
	for (i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (is(arg, "-v") || is(arg, "-x")) {
			sim.verbose = true;
			sim.dump |= is(arg, "-x");
			log_level(LOG_TRACE);
			log_stderr(true);
		} else if (is(arg, "--rings")) {
			sim.rings = true;
		} else if (is(arg, "--host")) {
			sim.host = true;
		} else if (is(arg, "--control")) {
			sim.control = true;
		} else if (is(arg, "--splice")) {
			sim.splice = true;
		} else if (is(arg, "--policy")) {
			sim.policy = true;
		} else if (is(arg, "--seeds") && ++i < argc) {
			n = strtoull(argv[i], NULL, 0);
			many = true;
		} else if (is(arg, "--from") && ++i < argc) {
			from = strtoull(argv[i], NULL, 0);
		} else if (is(arg, "--seed") && ++i < argc) {
			seed = strtoull(argv[i], NULL, 0);
			one = true;
		} else if (is(arg, "--script")) {
			return many_scripts(argc - i - 1, argv + i + 1);
		} else if (is(arg, "--lossy")) {
			return table_of_losses();
		} else if (is(arg, "--beside")) {
			return beside_all();
		} else if (is(arg, "--work") && i + 3 < argc) {
			n = strtoull(argv[i + 2], NULL, 0);
			from = strtoull(argv[i + 3], NULL, 0);
			return !run_work(argv[i + 1], (unsigned)n,
					 (unsigned)from);
		} else {
			return usage();
		}
	}
	if (one) {
		sim.name = "seed";
		run_seed(seed);
		return 0;
	}
	return many ? many_seeds(from, n, argv[0]) : usage();
}

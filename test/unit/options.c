/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: egress rules log util addr boot */
#include "options.h"
#include "log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct conf conf;
static char out[65536];

/* Run options_run() in a child; its exit status, output in @out */
static int run(enum mode mode, char **argv)
{
	int fds[2], argc = 0, status;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	while (argv[argc])
		argc++;
	assert_int_equal(pipe(fds), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		memset(&conf, 0, sizeof(conf));
		conf.mode = mode;
		options_run(&conf, argc, argv);
		_exit(42);
	}
	close(fds[1]);
	while ((n = read(fds[0], out + used, sizeof(out) - 1 - used)) > 0)
		used += (size_t)n;
	out[used] = '\0';
	close(fds[0]);
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void rows_are_complete(void **state)
{
	unsigned i, j;

	(void)state;
	for (i = 0; i < option_count; i++) {
		const struct option_row *o = &option_table[i];

		assert_non_null(o->name);
		if (!o->help) { /* an alias follows its original */
			assert_true(i > 0);
			assert_int_equal(o->letter, option_table[i - 1].letter);
			assert_int_equal(!o->arg, !option_table[i - 1].arg);
			continue;
		}
		assert_non_null(o->set);
		assert_true(o->modes & IN_ALL);
		for (j = 0; j < i; j++) {
			assert_string_not_equal(o->name, option_table[j].name);
			if (o->letter)
				assert_int_not_equal(o->letter,
						     option_table[j].letter);
		}
	}
}

/* The letters that callers may use, from the specification */
static void letters(void **state)
{
	static const char with[] = "lscFIpPmanMgioDSHtuTU", without[] = "dqfeh461";
	char seen[128] = { 0 };
	unsigned i;

	(void)state;
	for (i = 0; i < option_count; i++)
		if (option_table[i].letter)
			seen[(int)option_table[i].letter] =
				option_table[i].arg ? 2 : 1;
	for (i = 0; i < 128; i++) {
		int want = i && strchr(with, (int)i)	? 2 :
			   i && strchr(without, (int)i) ? 1 :
							  0;

		assert_int_equal(seen[i], want);
	}
}

static unsigned count_lines_over(const char *s, size_t width)
{
	unsigned n = 0;

	for (; *s; s++) {
		size_t len = strcspn(s, "\n");

		n += len > width;
		s += len;
		if (!*s)
			break;
	}
	return n;
}

static void help_lists_the_mode(void **state)
{
	char *help[] = { "passt", "--help", NULL }, *h[] = { "x", "-h", NULL };
	unsigned i, m;

	(void)state;
	for (m = 0; m < 2; m++) {
		enum mode mode = m ? MODE_PASTA : MODE_PASST;
		unsigned in = m ? IN_PASTA : IN_STREAMS;

		assert_int_equal(run(mode, m ? h : help), 0);
		assert_int_equal(count_lines_over(out, 79), 0);
		/* No heading without options */
		assert_int_equal(!!strstr(out, "\nNamespace:\n"), m);
		for (i = 0; i < option_count; i++) {
			const struct option_row *o = &option_table[i];
			char name[64];

			snprintf(name, sizeof(name), "--%s%s", o->name,
				 o->arg && o->help &&
				 (i + 1 == option_count ||
				  option_table[i + 1].help) ? " " : "");
			if (o->modes & in)
				assert_non_null(strstr(out, name));
			snprintf(name, sizeof(name), "--%s ", o->name);
			if (o->help && !(o->modes & in))
				assert_null(strstr(out, name));
		}
	}
	assert_non_null(strstr(out, "PID"));
	assert_non_null(strstr(out, "\nTraffic:\n"));
	assert_non_null(strstr(out, "--fd FD")); /* a tap device */
}

static void early_exits(void **state)
{
	char *version[] = { "passt", "--version", "--foo", NULL };
	char *feature[] = { "pasta", "--host-lo-to-ns-lo", "--version", NULL };
	char *caps[] = { "passt", "--print-capabilities", NULL };

	(void)state;
	assert_int_equal(run(MODE_PASST, version), 0);
	assert_memory_equal(out, "passt ", 6);
	assert_int_equal(run(MODE_PASTA, feature), 0);
	assert_memory_equal(out, "pasta ", 6);
	assert_int_equal(run(MODE_PASTA, caps), 0);
	assert_non_null(strstr(out, "\"type\": \"net\""));
}

static void unknown(void **state)
{
	char *foo[] = { "passt", "--foo", "--version", NULL };
	char *arg[] = { "pasta", "--netns", NULL };
	char *two[] = { "pasta", "--no-dhcp-", NULL };

	(void)state;
	assert_int_equal(run(MODE_PASST, foo), 1);
	assert_string_equal(out, "unrecognized option '--foo', see --help\n");
	assert_int_equal(run(MODE_PASTA, arg), 1);
	assert_non_null(strstr(out, "'--netns' requires an argument"));
	assert_int_equal(run(MODE_PASTA, two), 1);
	assert_non_null(strstr(out, "'--no-dhcp-' is ambiguous"));
}

/* The nearest option of the mode, if one is near; always one line */
static void mistyped(void **state)
{
	static const struct {
		enum mode mode;
		char *word;
		const char *says;
	} t[] = {
		{ MODE_PASTA, "--map-guest-adr",
		  "unrecognized option '--map-guest-adr', did you mean "
		  "--map-guest-addr?" },
		{ MODE_PASTA, "--confg-nte=1", "did you mean --config-net?" },
		{ MODE_PASST, "--confg-nte", "'--confg-nte', see" },
		{ MODE_PASTA, "--sokcet-path", "'--sokcet-path', see" },
		{ MODE_PASST, "--scoket-path", "mean --socket-path?" },
		{ MODE_PASST, "--vhost-usr", "mean --vhost-user?" },
		{ MODE_PASST, "--no-such-thing-at-all-whatever-it-may-be-x",
		  "whatever-it-may-be-x', see" },
		{ MODE_PASST, "--=", "ambiguous" },
		{ MODE_PASST, "--quiet=1", "'--quiet' doesn't allow" },
		{ MODE_PASST, "-qZ", "invalid option -- 'Z'" },
		{ MODE_PASST, "-qm", "requires an argument -- 'm'" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		char *argv[] = { "x", t[i].word, NULL };

		assert_int_equal(run(t[i].mode, argv), 1);
		if (!strstr(out, t[i].says))
			fail_msg("%s: %s", t[i].word, out);
		assert_ptr_equal(strchr(out, '\n') + 1, out + strlen(out));
	}
}

static void wrong_mode(void **state)
{
	static const struct {
		enum mode mode;
		char *opt, *arg, *says;
	} t[] = {
		{ MODE_PASTA, "-1", NULL, "--one-off is for passt mode only\n" },
		{ MODE_VHOST, "--fd-store", NULL,
		  "--fd-store is for passt mode only\n" },
		{ MODE_PASTA, "-s", "x",
		  "--socket is for passt / vhost-user mode only\n" },
		{ MODE_PASST, "-T", "1", "--tcp-ns is for pasta mode only\n" },
		{ MODE_PASST, "--config-net", NULL,
		  "--config-net is for pasta mode only\n" },
		{ MODE_PASTA, "--no-dhcp-dns", NULL,
		  "--no-dhcp-dns is for passt / vhost-user mode only\n" },
		{ MODE_PASST, "--migrate-exit", NULL,
		  "--migrate-exit is for vhost-user mode only\n" },
		{ MODE_PASST, "--repair-path", "x",
		  "--repair-path is for vhost-user mode only\n" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		char *argv[] = { "passt", t[i].opt, t[i].arg, NULL };

		assert_int_equal(run(t[i].mode, argv), 1);
		assert_non_null(strstr(out, t[i].says));
	}
}

static void find(void **state)
{
	char *argv[] = { "pasta", "-qF", "5",	 "--vhost", "--bogus",
			 "-H",	  "--fqdn", "tail", "-F",      "7", NULL };

	(void)state;
	assert_string_equal(options_find(10, argv, "fd"), "5");
	assert_string_equal(options_find(10, argv, "vhost-user"), "");
	assert_string_equal(options_find(10, argv, "hostname"), "--fqdn");
	assert_null(options_find(10, argv, "fqdn")); /* it is an argument */
	assert_null(options_find(10, argv, "debug"));
}

static void lists_are_bounded(void **state)
{
	static struct lan l;
	struct addr a;
	unsigned i;

	(void)state;
	for (i = 0; i < 9; i++) {
		a = addr_v4(192, 0, 2, (uint8_t)(i / 2));
		assert_int_equal(options_add_dns(&l, &a), i < 2 * LAN_DNS);
		assert_int_equal(options_add_search(&l, "abcdef", 3),
				 i < LAN_SEARCH);
	}
	assert_int_equal(l.dns4_n, LAN_DNS);
	assert_int_equal(l.dns4[1].b[15], 1); /* each once */
	assert_int_equal(l.dns6_n, 0);
	assert_int_equal(l.search_n, LAN_SEARCH);
	assert_string_equal(l.search[LAN_SEARCH - 1], "abc");
	assert_string_equal(l.hostname, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_complete),
		cmocka_unit_test(letters),
		cmocka_unit_test(help_lists_the_mode),
		cmocka_unit_test(early_exits),
		cmocka_unit_test(unknown),
		cmocka_unit_test(mistyped),
		cmocka_unit_test(wrong_mode),
		cmocka_unit_test(find),
		cmocka_unit_test(lists_are_bounded),
	};

	log_init("passt");
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: egress rules util addr boot */
/* A command line, a word a line; what is wrong dies, which here is a jump */
#include "options.h"
#include "log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum log_level log_max = LOG_ERROR;
static jmp_buf out;
static struct conf conf;

_Noreturn void die(const char *fmt, ...)
{
	char line[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	longjmp(out, 1);
}

void log_print(enum log_level l, const char *fmt, ...)
{
	(void)l, (void)fmt;
}

bool log_allowed(struct log_rate *r)
{
	(void)r;
	return false;
}

/* Does this word say something and leave?  Names may be cut short. */
static bool leaves(const char *word)
{
	static const char *const names[] = { "help", "version",
					     "print-capabilities" };
	size_t len;

	if (word[0] != '-')
		return false;
	if (word[1] != '-')
		return strchr(word, 'h');
	len = strcspn(word + 2, "=");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (len && !strncmp(word + 2, names[i], len))
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[4096], name[] = "passt";
	char *argv[130] = { name };
	int argc = 1;
	char *s = text;

	if (size < 2 || size > sizeof(text))
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	while (argc < 128 && (argv[argc] = strsep(&s, "\n"))) {
		if (leaves(argv[argc]))
			return 0;
		argc++;
	}
	argv[argc] = NULL;
	memset(&conf, 0, sizeof(conf));
	conf.mode = data[0] % 3;
	if (!setjmp(out)) {
		(void)options_find(argc, argv, "log-file");
		options_run(&conf, argc, argv);
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * events - what was seen of the host and what was done
 */
#include "events.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

static struct event *last(struct events *e)
{
	return &e->ring[(e->n - 1) % EVENTS];
}

void events_tell(struct events *e, enum log_level l, const char *kind,
		 const char *fmt, ...)
{
	char text[EVENT_TEXT];
	struct timespec ts;
	struct event *v;
	va_list ap;

	if (!e && l > log_max)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_at(l, "%s", text);
	if (!e)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	e->n++;
	v = last(e);
	v->ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	v->kind = kind;
	memcpy(v->text, text, sizeof(text));
	v->fields[0] = '\0';
}

static void put(struct events *e, const char *name, const char *quote,
		const char *value)
{
	struct event *v = last(e);
	size_t len = strlen(v->fields), room = sizeof(v->fields) - len;
	int n = snprintf(v->fields + len, room, ", \"%s\": %s%s%s", name, quote,
			 value, quote);

	if (n < 0 || (size_t)n >= room)
		v->fields[len] = '\0';
}

/* Quote a value as JSON: names of interfaces may have any bytes but blanks and
 * slashes */
void events_text(struct events *e, const char *name, const char *value)
{
	char text[EVENT_FIELDS];
	size_t len = 0;

	if (!e || !e->n)
		return;
	for (; *value && len + 7 < sizeof(text); value++) {
		uint8_t c = (uint8_t)*value;

		if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"\\u%04x", c);
		else
			text[len++] = (char)c;
	}
	text[len] = '\0';
	put(e, name, "\"", text);
}

void events_number(struct events *e, const char *name, uint64_t value)
{
	char text[21];

	if (!e || !e->n)
		return;
	*util_decimal(text, value, 1) = '\0';
	put(e, name, "", text);
}

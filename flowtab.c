/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * flowtab - live flows as a table, for pesto
 *
 * The table is like that of ss(8), but a flow has two local ends: what the
 * guest sees and what the host sees.
 */
#include "flowtab.h"

#include "fetch.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>

/* --- what the server says ------------------------------------------------- */

static const char **add_row(struct flowtab *t)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 256;
		t->row = realloc(t->row, t->cap * sizeof(*t->row));
		if (!t->row)
			die("Too many flows");
	}
	return t->row[t->n++];
}

/* Split a line into fields; false if some are missing.  Those that a newer
 * server adds are ignored. */
static bool split(char *line, const char *field[FIELDS])
{
	unsigned i;

	for (i = 0; i < FIELDS; i++)
		field[i] = strsep(&line, "\t");
	return field[FIELDS - 1];
}

void flowtab_fetch(struct flowtab *t, const char *path, const char *filter)
{
	char target[256], *at, *line;

	snprintf(target, sizeof(target), "/flows?format=tsv%s", filter);
	t->text = fetch_page(path, target, t->text);
	t->n = 0;
	at = t->text;
	line = strsep(&at, "\n");
	if (strncmp(line, FLOWPAGE_HEAD, strlen(FLOWPAGE_HEAD)))
		die("Server gives no flows that make sense");
	t->label = line + strlen(FLOWPAGE_HEAD);
	while ((line = strsep(&at, "\n")) && *line)
		if (!split(line, add_row(t)))
			die("Server gives no flows that make sense");
}

uint64_t flowtab_number(const char *const row[FIELDS], enum flowpage_field f)
{
	uint64_t v;

	return util_parse_u64(row[f], 10, UINT64_MAX, &v) ? v : 0;
}

/* --- columns ---------------------------------------------------------------
 */

void flowtab_bytes(char *to, double n)
{
	static const char unit[] = " KMGTP";
	unsigned u = 0;

	for (; n >= 1000 && u < sizeof(unit) - 2; u++)
		n /= 1024;
	if (!u)
		snprintf(to, FLOWTAB_CELL, "%.0f", n);
	else
		snprintf(to, FLOWTAB_CELL, "%.*f%c", n < 9.95, n, unit[u]);
}

static void bytes(char *to, const char *const row[FIELDS],
		  enum flowpage_field f)
{
	if (*row[f] == '-')
		strcpy(to, "-");
	else
		flowtab_bytes(to, (double)flowtab_number(row, f));
}

static void age(char *to, uint64_t ms)
{
	unsigned long long s = ms / 1000;

	if (s < 100)
		snprintf(to, FLOWTAB_CELL, "%llus", s);
	else if (s < 100 * 60)
		snprintf(to, FLOWTAB_CELL, "%llum", s / 60);
	else if (s < 100 * 3600)
		snprintf(to, FLOWTAB_CELL, "%lluh", s / 3600);
	else
		snprintf(to, FLOWTAB_CELL, "%llud", s / 86400);
}

static void endpoint(char *to, const char *const row[FIELDS],
		     enum flowpage_field addr)
{
	bool v6 = strchr(row[addr], ':');

	snprintf(to, FLOWTAB_CELL, v6 ? "[%.46s]:%.5s" : "%.46s:%.5s",
		 row[addr], row[addr + 1]);
}

bool flowtab_right(unsigned column)
{
	return column >= 7;
}

static void heading(char cell[FLOWTAB_COLUMNS][FLOWTAB_CELL])
{
	static const char *const name[FLOWTAB_COLUMNS] = {
		"PROTO",        "STATE", "GUEST",       "",
		"GUEST'S PEER", "HOST",  "HOST'S PEER", "TO GUEST",
		"TO HOST",      "QUEUE", "AGE",
	};
	unsigned i;

	for (i = 0; i < FLOWTAB_COLUMNS; i++)
		strcpy(cell[i], name[i]);
}

void flowtab_cells(const char *const row[FIELDS],
		   char cell[FLOWTAB_COLUMNS][FLOWTAB_CELL])
{
	bool spliced, out;

	if (!row) {
		heading(cell);
		return;
	}
	spliced = !strcmp(row[FIELD_PATH], "spliced");
	out = !strcmp(row[FIELD_FROM], "guest");
	snprintf(cell[0], FLOWTAB_CELL, "%.10s%s", row[FIELD_PROTO],
		 spliced ? "/splice" : "");
	snprintf(cell[1], FLOWTAB_CELL, "%.20s", row[FIELD_STATE]);
	endpoint(cell[2], row, FIELD_GUEST);
	strcpy(cell[3], out ? "->" : "<-");
	endpoint(cell[4], row, FIELD_GUEST_PEER);
	endpoint(cell[5], row, FIELD_HOST);
	endpoint(cell[6], row, FIELD_HOST_PEER);
	bytes(cell[7], row, FIELD_TO_GUEST);
	bytes(cell[8], row, FIELD_TO_HOST);
	flowtab_bytes(cell[9],
		      (double)(flowtab_number(row, FIELD_QUEUE_TO_GUEST) +
			       flowtab_number(row, FIELD_QUEUE_TO_HOST)));
	age(cell[10], flowtab_number(row, FIELD_AGE));
}

/* --- all of it --------------------------------------------------------------
 */

static void print_row(const char *const row[FIELDS],
		      const int width[FLOWTAB_COLUMNS])
{
	char cell[FLOWTAB_COLUMNS][FLOWTAB_CELL];
	unsigned i;

	flowtab_cells(row, cell);
	for (i = 0; i < FLOWTAB_COLUMNS; i++)
		printf("%s%*s", i ? " " : "",
		       flowtab_right(i) ? width[i] : -width[i], cell[i]);
	putchar('\n');
}

static void widen(const char *const row[FIELDS], int width[FLOWTAB_COLUMNS])
{
	char cell[FLOWTAB_COLUMNS][FLOWTAB_CELL];
	unsigned i;

	flowtab_cells(row, cell);
	for (i = 0; i < FLOWTAB_COLUMNS; i++)
		width[i] = MAX(width[i], (int)strlen(cell[i]));
}

void flowtab_print(const struct flowtab *t)
{
	int width[FLOWTAB_COLUMNS] = { 0 };
	unsigned i;

	widen(NULL, width);
	for (i = 0; i < t->n; i++)
		widen(t->row[i], width);
	printf("%s: %u flow%s\n", t->label, t->n, t->n == 1 ? "" : "s");
	print_row(NULL, width);
	for (i = 0; i < t->n; i++)
		print_row(t->row[i], width);
}

/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * flowtab - live flows as a table, for pesto
 */
#ifndef FLOWTAB_H
#define FLOWTAB_H

#include "flowpage.h"

struct flowtab {
	char *text; /* of the server, taken apart in place */
	const char *label;
	unsigned n, cap;
	const char *(*row)[FIELDS];
};

/* flowtab_fetch - the flows that the server at @path has now
 * @filter is "" or "&port=80" and the like.  @t begins as all zero; what is wrong
 * ends the process with one line. */
void flowtab_fetch(struct flowtab *t, const char *path, const char *filter);

/* flowtab_number - field @f of @row; 0 if nobody knows */
uint64_t flowtab_number(const char *const row[FIELDS], enum flowpage_field f);

/* Columns, as ss(8) would have them */
enum { FLOWTAB_COLUMNS = 11, FLOWTAB_CELL = 64 };

/* flowtab_cells - @row as it is shown; NULL: the heading */
void flowtab_cells(const char *const row[FIELDS],
		   char cell[FLOWTAB_COLUMNS][FLOWTAB_CELL]);

/* flowtab_right - is this a column of numbers? */
bool flowtab_right(unsigned column);

/* flowtab_bytes - "1.2M" into @to, which has FLOWTAB_CELL */
void flowtab_bytes(char *to, double n);

/* flowtab_print - all of it to stdout */
void flowtab_print(const struct flowtab *t);

#endif /* FLOWTAB_H */

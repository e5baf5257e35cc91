/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * flowtab - live flows as a table, for pesto
 */
#ifndef FLOWTAB_H
#define FLOWTAB_H

#include "flowpage.h"

struct flowtab {
	char *text; /* the server's page, split in place */
	const char *label;
	unsigned n, cap;
	const char *(*row)[FIELDS];
};

/* flowtab_fetch - get the flows that the server at @path has now
 * @filter is "", or "&port=80" and the like.  @t is all zero before the first
 * call.  Failures end the process with one line. */
void flowtab_fetch(struct flowtab *t, const char *path, const char *filter);

/* flowtab_number - field @f of @row as a number; 0 if unknown */
uint64_t flowtab_number(const char *const row[FIELDS], enum flowpage_field f);

/* Columns, like those of ss(8) */
enum { FLOWTAB_COLUMNS = 11, FLOWTAB_CELL = 64 };

/* flowtab_cells - write the text of each column of @row, or of the heading if
 * @row is NULL */
void flowtab_cells(const char *const row[FIELDS],
		   char cell[FLOWTAB_COLUMNS][FLOWTAB_CELL]);

/* flowtab_right - whether a column has numbers and is aligned to the right */
bool flowtab_right(unsigned column);

/* flowtab_bytes - write @n bytes as "1.2M" to @to, of FLOWTAB_CELL bytes */
void flowtab_bytes(char *to, double n);

/* flowtab_print - print the whole table to stdout */
void flowtab_print(const struct flowtab *t);

#endif /* FLOWTAB_H */

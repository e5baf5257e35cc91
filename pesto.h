/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pesto - changes and shows the forwarding rules of a running passt or pasta
 */
#ifndef PESTO_H
#define PESTO_H

#include <stdbool.h>

/* pesto_is - whether the program was called by this name */
bool pesto_is(const char *argv0);

/* pesto_main - the whole program; returns its exit status */
int pesto_main(int argc, char **argv);

#endif /* PESTO_H */

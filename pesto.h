/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pesto - shows and changes the forwarding rules of a running passt or pasta
 */
#ifndef PESTO_H
#define PESTO_H

/* pesto_main - the program by that name; returns its exit status */
int pesto_main(int argc, char **argv);

#endif /* PESTO_H */

/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * passt_repair - sets TCP_REPAIR for a passt that may not do that itself
 */
#ifndef PASST_REPAIR_H
#define PASST_REPAIR_H

/* passt_repair_main - the program by that name; returns its exit status */
int passt_repair_main(int argc, char **argv);

#endif /* PASST_REPAIR_H */

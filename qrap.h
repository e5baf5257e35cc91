/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * qrap - starts a QEMU older than 7.2, which has no stream sockets, with
 * passt
 */
#ifndef QRAP_H
#define QRAP_H

/* qrap_main - the program by that name: becomes QEMU, or returns the exit
 * status of a failure */
int qrap_main(int argc, char **argv);

#endif /* QRAP_H */

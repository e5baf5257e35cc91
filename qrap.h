/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * qrap - starts a QEMU before 7.2, which has no stream sockets, behind passt
 */
#ifndef QRAP_H
#define QRAP_H

/* qrap_main - becomes QEMU, or returns the exit status of a failure */
int qrap_main(int argc, char **argv);

#endif /* QRAP_H */

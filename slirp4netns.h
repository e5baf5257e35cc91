/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * slirp4netns - the command line and API socket of slirp4netns, by pasta
 */
#ifndef SLIRP4NETNS_H
#define SLIRP4NETNS_H

/* slirp4netns_main - the program by that name; returns its exit status */
int slirp4netns_main(int argc, char **argv);

#endif /* SLIRP4NETNS_H */

/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * frames - what a hostile guest sends: any number of frames that a seed makes
 *
 * Frame n follows from the seed, n, and of a connection the numbers that its
 * other end has chosen: nothing else, no time.  So what is thrown is the same
 * again, as far as the answers are.
 */
#ifndef FRAMES_H
#define FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FRAME_MAX = 65535,
	CONNS = 512, /* connections that are kept, so that segments fit them */
	ECHO_PORT = 9001, FLOOD_PORT, CLOSED_PORT, /* of the peer */
};

enum kind {
	K_TCP, K_SYN, K_UDP, K_ECHO, K_ERROR, K_ARP, K_NDP, K_DHCP, K_DHCPV6,
	K_GROUPS, K_FRAGMENT, K_EXTENSION, K_ETHERNET, KINDS
};

struct conn {
	uint8_t state; /* enum in frames.c */
	bool v6;
	uint8_t to; /* which of the peer's ports */
	uint16_t life; /* how often its place was used again */
	uint32_t snd, rcv; /* the next of ours and of theirs */
	uint16_t window;
};

struct frames {
	uint64_t seed, n, r;
	uint8_t mac[6];
	bool keep_mac; /* no other source: who is beside us shares it */
	struct conn conn[CONNS];
	unsigned long of[KINDS], heard, established, resets;
};

/* frames_init - @mac is the guest's; with a @seed of 0 the frames are as long, and of
 * a type that nobody has: what a flood costs that means no harm */
void frames_init(struct frames *f, uint64_t seed, const uint8_t mac[6],
		 bool keep_mac);

/* frames_next - the next one at @b, which has room for FRAME_MAX; its length */
size_t frames_next(struct frames *f, uint8_t *b);

/* frames_heard - what comes to the guest; whether it was for the hostile one */
bool frames_heard(struct frames *f, const uint8_t *b, size_t len);

/* frames_random - more of the number that frame n was made of */
uint32_t frames_random(struct frames *f);

/* frames_below - a number below @n */
uint32_t frames_below(struct frames *f, uint32_t n);

#endif /* FRAMES_H */

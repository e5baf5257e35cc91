/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * packet - frame to checked headers and tuple; tuple to headers
 *
 * packet_parse() is the only code that reads a frame's headers.  It copies them
 * once, because under vhost-user the guest may still be writing, and fills a
 * family-neutral description.  From there on nobody asks AF_INET or AF_INET6.
 */
#ifndef PACKET_H
#define PACKET_H

#include "addr.h"
#include "cursor.h"
#include "util.h"

#include <linux/virtio_net.h>

#include <sys/uio.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* Linux 6.2 */
#endif

/* The virtio-net header in host byte order: the work a frame still needs.
 * Values are those of linux/virtio_net.h. */
struct note {
	uint8_t flags;	      /* VIRTIO_NET_HDR_F_NEEDS_CSUM or 0 */
	uint8_t gso_type;     /* VIRTIO_NET_HDR_GSO_* */
	uint16_t hdr_len;     /* Ethernet to the end of layer 4's header */
	uint16_t gso_size;    /* payload of each segment, if gso_type is set */
	uint16_t csum_start;  /* sum from here to the end of the frame ... */
	uint16_t csum_offset; /* ... and store here, counted from csum_start */
};

/* note_get, note_put - from and to the little-endian header of virtio 1.0 */
static inline struct note note_get(const struct virtio_net_hdr *h)
{
	return (struct note){
		.flags = h->flags,
		.gso_type = h->gso_type,
		.hdr_len = le16toh(h->hdr_len),
		.gso_size = le16toh(h->gso_size),
		.csum_start = le16toh(h->csum_start),
		.csum_offset = le16toh(h->csum_offset),
	};
}

static inline struct virtio_net_hdr note_put(const struct note *n)
{
	return (struct virtio_net_hdr){
		.flags = n->flags,
		.gso_type = n->gso_type,
		.hdr_len = htole16(n->hdr_len),
		.gso_size = htole16(n->gso_size),
		.csum_start = htole16(n->csum_start),
		.csum_offset = htole16(n->csum_offset),
	};
}

enum {
	ETH_HEAD = 14,
	IP4_HEAD = 20,
	IP6_HEAD = 40,
	IP6_FRAG_HEAD = 8,
	UDP_HEAD = 8,
	TCP_HEAD = 20,
	TCP_MSS_DEFAULT = 536, /* RFC 9293 3.7.1, IPv4 */
	ARP_BODY = 28,
	HEAD_MAX = ETH_HEAD + IP6_HEAD + 60, /* longest head that we write */
	FRAME_MIN = 60,	   /* IEEE 802.3 minimum without FCS: pad to it */
	FRAME_MAX = 65535, /* longest frame on any transport */
	PACKET_HDR = 192,  /* bytes of headers that are copied */
};

/* What a transport lends until tap_release(): Ethernet first, never read in
 * place outside packet.c and pcap.c. */
struct frame {
	struct note note;
	struct iovec *iov; /* @one, or the transport's own array */
	unsigned iov_cnt;
	size_t len;
	struct iovec one;
};

/* Five numbers that name a packet's way.  Ports are in host order; for echo
 * both are the ICMP identifier. */
struct tuple {
	struct addr src, dst;
	uint16_t sport, dport;
	uint8_t proto; /* IPPROTO_TCP, _UDP, _ICMP or _ICMPV6 */
};

enum packet_kind {
	PACKET_ARP,
	PACKET_TCP,
	PACKET_UDP,
	PACKET_ICMP4,
	PACKET_ICMP6,
	PACKET_IGMP,
	PACKET_KINDS
};

/* Why a frame or packet went no further: every dropped packet has a name */
enum verdict {
	PASS,
	DROP_SHORT,	  /* ends inside a header or before its own length */
	DROP_ETHERTYPE,	  /* neither ARP, IPv4 nor IPv6 */
	DROP_FRAGMENT,	  /* of IPv4 or IPv6: for frag.c; a duplicate there */
	DROP_OVERLAP,	  /* of a datagram whose fragments contradict another */
	DROP_REASSEMBLY,  /* datagram of which fragments were missing */
	DROP_CHECKSUM,	  /* and one that they do not add up to */
	DROP_LOOPBACK,	  /* loopback address on the guest's link */
	DROP_EXTENSION,	  /* IPv6 extension header unknown or chain too long */
	DROP_PROTOCOL,	  /* layer 4 that we do not carry, or disabled */
	DROP_MALFORMED,	  /* contradicting lengths, bad version */
	DROP_ENDPOINT,	  /* address or port that cannot be an endpoint */
	DROP_NO_ROUTE,	  /* policy gives no destination */
	DROP_DENIED,	  /* the user forbids it: --allow-out, --deny-out */
	DROP_NO_FLOW,	  /* table full or socket refused */
	DROP_NO_ROOM,	  /* the guest takes no more */
	DROP_SOCKET,	  /* the socket refused the data */
	DROP_UNWANTED,	  /* valid, but not something we answer */
	DROP_TOO_BIG,	  /* does not fit a frame */
	DROP_CONN,	  /* transport not connected */
	VERDICTS
};

/* verdict_name - for --stats and messages */
const char *verdict_name(enum verdict v);

/* A packet from the guest: checked, ours, family-neutral */
struct packet {
	struct tuple t;
	struct packet *next;	   /* in its flow's inbox */
	struct packet *tail;	   /* of the first: the last one there */
	const struct frame *frame; /* payload bytes stay there */
	uint32_t flow_label;	   /* IPv6 only, else 0 */
	uint32_t payload_len;	   /* what follows the layer-4 header */
	uint16_t payload_off;	   /* from the start of the frame */
	uint16_t l3_off, l4_off;   /* into @hdr */
	uint16_t hdr_len;	   /* valid bytes of @hdr */
	uint16_t gso_size;	   /* UDP: payload of each datagram, or 0 */
	uint8_t kind;		   /* enum packet_kind */
	union {
		struct {
			uint8_t ttl, tos; /* hop limit, traffic class */
			bool df; /* nobody on its way may fragment it */
			uint8_t zero;
		};
		uint32_t sent_as; /* all of these */
	};
	uint8_t proto_off;	   /* IPv6, from there: where the protocol is named */
	/* Of a fragment: the payload is what it carries.  A first one has all
	 * headers. */
	bool frag_more;
	uint16_t frag_off;  /* bytes */
	uint16_t frag_head; /* what headers take of the datagram's 64 KiB */
	uint32_t frag_id;
	struct mac smac, dmac;
	/* TCP: fixed header.  ICMP: type, code.  Payload of an ICMP message
	 * and IGMP starts at its type byte, payload of ARP at its first byte. */
	uint32_t seq, ack;
	uint16_t window;
	uint8_t tcp_flags; /* FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32 */
	uint8_t icmp_type, icmp_code;
	uint8_t hdr[PACKET_HDR]; /* private copy of the frame's first bytes */
};

enum {
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_PSH = 8,
	TCP_ACK = 16,
	TCP_URG = 32
};

/* packet_parse - check @f and describe it in @p
 * PASS, or why not; then @p->smac is valid if the frame has 14 bytes, the rest
 * is undefined, except that DROP_FRAGMENT comes with all that frag.c needs.
 * Padding behind the IP length is cut off for both families.  IPv6 hop-by-hop,
 * routing and destination headers are skipped, and the fragment header of what is
 * no fragment (RFC 6946).  Layer-4
 * checksums are not looked at: they may be unfinished (spec: callers 2.1.9). */
enum verdict packet_parse(const struct frame *f, struct packet *p);

/* packet_iov - describe @len payload bytes at @off in @iov (see iov_slice) */
unsigned packet_iov(const struct packet *p, size_t off, size_t len,
		    struct iovec *iov, unsigned max, size_t *got);

/* packet_copy - copy up to @len payload bytes at @off; returns how many */
size_t packet_copy(const struct packet *p, size_t off, void *dst, size_t len);

/* packet_sum_ok - whether the checksum of layer 4 is right
 * Only of frames in which it is known to be finished. */
bool packet_sum_ok(const struct packet *p);

/* packet_l4 - a reader over the private copy from the layer-4 header on
 * Ends with the header copy: enough for headers and options, not payload. */
struct rd packet_l4(const struct packet *p);

/* One burst's packets.  Lives in guest.c's state. */
enum { PACKET_BATCH = 64 };
struct packet_pool {
	unsigned n;
	struct packet p[PACKET_BATCH];
};

/* --- towards the guest ------------------------------------------------- */

/* Where what the guest sends on the same flow may come, apart from others: answers
 * and whatever is of no flow, which a flood is made of; datagrams; connections, whose
 * frames are mostly ACKs that others wait for; and flows that send much */
enum lane { LANE_OTHER, LANE_DGRAM, LANE_CONN, LANE_BULK };

/* What a protocol states about an outgoing packet below layer 4 */
struct head {
	struct mac src, dst;
	struct tuple t;
	uint32_t flow_label;
	uint8_t ttl; /* 0 means 255 */
	uint8_t tos;
	/* Of a fragment, and 0 of what is none: an identification, where it begins,
	 * and whether others follow.  With IPv4 also of a whole that may be fragmented. */
	uint32_t frag_id;
	uint16_t frag_off;
	bool frag_more;
	uint8_t lane; /* enum lane, see struct slot */
};

struct tcp_head {
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
	uint8_t opt_len; /* a multiple of 4, at most 40 */
	uint8_t opt[40];
};

/* head_len - Ethernet and IP for the family of @t */
static inline size_t head_len(const struct tuple *t)
{
	return addr_is_v4(&t->src) ? ETH_HEAD + IP4_HEAD : ETH_HEAD + IP6_HEAD;
}

/* frag_head_len - the same for a fragment */
static inline size_t frag_head_len(const struct tuple *t)
{
	return head_len(t) + (addr_is_v4(&t->src) ? 0 : IP6_FRAG_HEAD);
}

/* packet_put_ip - Ethernet and IP header for @l4_len bytes of layer 4
 * IPv4: id 0 and DF unless it has a @frag_id, header checksum filled in; a run that is
 * longer than its length field can say has 0 there, as Linux's own (BIG TCP).  Returns
 * the bytes written, which are head_len(), or frag_head_len().  @at needs no alignment. */
size_t packet_put_ip(uint8_t *at, const struct head *h, size_t l4_len);

/* packet_put_udp, packet_put_tcp - Ethernet to layer 4 for @payload bytes
 * The checksum field gets the pseudo-header sum, @n says so (NEEDS_CSUM); the
 * caller adds gso_type and gso_size if the payload is a run of segments: then
 * the pseudo-header covers the whole run.  Returns the bytes written. */
size_t packet_put_udp(uint8_t *at, const struct head *h, size_t payload,
		      struct note *n);
size_t packet_put_tcp(uint8_t *at, const struct head *h,
		      const struct tcp_head *th, size_t payload,
		      struct note *n);

/* packet_finish_udp - what packet_put_udp() has left to do
 * For one datagram whose header is at @udp, not for a run. */
void packet_finish_udp(uint8_t *udp, const uint8_t *payload, size_t len);

/* A packet to send, as an answerer states it.  @body holds for ARP the 28 bytes
 * after Ethernet, for UDP the payload, for ICMP and ICMPv6 the message with a
 * checksum of zero.  Lengths and sums are the sender's business. */
struct answer {
	struct head head;
	bool arp; /* @head has MACs only */
	bool alert; /* with Router Alert (RFC 2113, RFC 2711): of group memberships */
	struct wr body;
};

enum { ANSWER_MAX = 1500 }; /* room that the caller gives @body */

/* packet_answer_head - headers of @a into @at (HEAD_MAX bytes)
 * All sums are finished, that of ICMP inside @a->body: a program with a packet
 * or raw socket sees what the guest's kernel has not completed, and many do not
 * know that it may be so.  Returns the length; the frame's note is empty. */
size_t packet_answer_head(uint8_t *at, struct answer *a);

#endif /* PACKET_H */

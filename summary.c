/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * summary - what is told at the start
 */
#include "summary.h"
#include "log.h"

static void show(const char *what, const struct addr *a)
{
	char text[ADDR_TEXT_LEN];

	if (!addr_is_none(a))
		log_info("    %s: %s", what, addr_text(a, text));
}

/* Log "what: x (IPv4), y (IPv6)", without what is empty */
static void show_both(const char *what, const char *x, const char *y)
{
	if (*x || *y)
		log_info("%s: %s%s%s%s%s", what, x, *x ? " (IPv4)" : "",
			 *x && *y ? ", " : "", y, *y ? " (IPv6)" : "");
}

static void show_outbound(const struct conf *c)
{
	char text4[ADDR_TEXT_LEN] = "", text6[ADDR_TEXT_LEN] = "";

	show_both("Outbound interface", c->sock.if4, c->sock.if6);
	if (!addr_is_none(&c->sock.out4))
		addr_text(&c->sock.out4, text4);
	if (!addr_is_none(&c->sock.out6))
		addr_text(&c->sock.out6, text6);
	show_both("Outbound address", text4, text6);
}

static void show_mac(const struct plan *p)
{
	char text[MAC_TEXT_LEN];
	unsigned i;

	log_info("MAC:");
	log_info("    host: %s", mac_text(&p->lan.mac, text));
	for (i = 0; i < FWD_NAMES; i++)
		if (p->lan.v4)
			show("NAT to host 127.0.0.1",
			     &p->map.host_loopback[0][i]);
	for (i = 0; i < FWD_NAMES; i++)
		if (p->lan.v6)
			show("NAT to host ::1", &p->map.host_loopback[1][i]);
}

static void show_dns(const struct lan *l, bool v4)
{
	const struct addr *list = v4 ? l->dns4 : l->dns6;
	unsigned n = v4 ? l->dns4_n : l->dns6_n, i;
	char text[ADDR_TEXT_LEN];

	if (n)
		log_info("DNS:");
	for (i = 0; i < n; i++)
		log_info("    %s", addr_text(&list[i], text));
	if (l->search_n)
		log_info("DNS search list:");
	for (i = 0; i < l->search_n; i++)
		log_info("    %s", l->search[i]);
}

static void show4(const struct lan *l)
{
	struct addr mask;

	if (!l->v4)
		return;
	if (l->dhcp) {
		mask = addr_v4(255, 255, 255, 255);
		mask = addr_mask(&mask, l->prefix4);
		log_info("DHCP:");
		show("assign", &l->guest4);
		show("mask", &mask);
		show("router", &l->gw4);
	}
	show_dns(l, true);
}

static void show6(const struct lan *l)
{
	bool ndp = l->ndp && l->ra;

	if (!l->v6)
		return;
	if (ndp || l->dhcpv6) {
		log_info("%s:", !l->dhcpv6 ? "NDP"
				: ndp      ? "NDP/DHCPv6"
					   : "DHCPv6");
		show("assign", &l->guest6);
		show("router", &l->gw6);
		show("our link-local", &l->our_ll6);
	}
	show_dns(l, false);
}

static void show_rules(const char *title, const struct rules *t)
{
	char text[RULE_TEXT];
	unsigned i;

	if (t->n)
		log_info("%s:", title);
	for (i = 0; i < t->n; i++)
		log_info("    %s", rule_text(&t->r[i], text));
}

static void show_egress(const struct egress *e)
{
	unsigned i;

	if (e->n)
		log_info("Outbound policy:");
	for (i = 0; i < e->n; i++)
		if (e->r[i].spec)
			log_info("    %s %s", e->r[i].allow ? "allow" : "deny",
				 e->r[i].spec);
	if (e->n)
		log_info("    %s the rest", egress_rest(e) ? "allow" : "deny");
}

static void show_hint(const struct conf *c)
{
	if (c->mode == MODE_PASTA || !c->socket[0])
		return;
	log_info("You can start QEMU with:");
	if (c->mode == MODE_PASST)
		log_info("    -device virtio-net-pci,netdev=s -netdev stream,"
			 "id=s,server=off,addr.type=unix,addr.path=%s",
			 c->socket);
	else
		log_info("    -chardev socket,id=c,path=%s "
			 "-netdev vhost-user,id=n,chardev=c "
			 "-device virtio-net-pci,netdev=n "
			 "-machine memory-backend=m "
			 "-object memory-backend-memfd,id=m,size=RAM",
			 c->socket);
}

void summary_print(const struct conf *c, const struct host *h,
		   const struct plan *p, const char *ifname)
{
	const struct template *t = h->t;

	if (log_max < LOG_INFORM)
		return;
	if (c->control[0])
		log_info("Configuration socket: %s", c->control);
	if (c->metrics[0])
		log_info("Metrics socket: %s", c->metrics);
	if (!c->splice_only) {
		show_both("Template interface",
			  p->lan.v4 && t[0].ifindex ? t[0].ifname : "",
			  p->lan.v6 && t[1].ifindex ? t[1].ifname : "");
		show_outbound(c);
		if (c->mode == MODE_PASTA)
			log_info("Namespace interface: %s", ifname);
		show_mac(p);
		show4(&p->lan);
		show6(&p->lan);
	}
	show_rules("Inbound forwarding rules (HOST)", &c->host);
	show_rules("Outbound forwarding rules (SPLICE)", &c->ns);
	show_egress(&c->egress);
	show_hint(c);
}

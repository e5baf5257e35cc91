# SPDX-License-Identifier: GPL-2.0-or-later
"""Real callers, as Debian unstable has them: make check-callers; root.py says
where they come from.  doc/callers.md has what was run.
"""

import contextlib
import json
import pathlib
import re
import signal
import subprocess

import pytest

import qemu
from clients import Lease
from lab import FAR, HOST, PEER, UPLINK, V4, V6, children, signal_pid, until
from root import Root
from test_egress import Zone

SETUP = """
set -e
cd
export XDG_RUNTIME_DIR=$HOME/run PODMAN_IGNORE_CGROUPSV1_WARNING=1
mkdir -p $XDG_RUNTIME_DIR .config/containers
chmod 700 $XDG_RUNTIME_DIR
printf '[storage]\\ndriver = "vfs"\\n' >.config/containers/storage.conf
printf '[containers]\\ncgroups = "disabled"\\n[engine]\\n\
cgroup_manager = "cgroupfs"\\nevents_logger = "file"\\n' \
>.config/containers/containers.conf
"""
IMAGE = """
mkdir -p image/bin image/www
cp /bin/busybox image/bin/
for l in sh ip wget httpd; do ln -sf busybox image/bin/$l; done
echo hello >image/www/index
tar -C image -c . | podman import -q - test
"""
INFRA = "--infra-image test --infra-command '/bin/busybox sleep 1000'"
HTTPD = "test /bin/busybox httpd -f -p 80 -h /www"


@pytest.fixture
def root(lab):
    return lab.keep(Root(lab))


def sh(root, script):
    return root.sh(SETUP + script, seconds=300)


def page(where, address, port):
    """A container is not there the moment that podman says so."""
    url = f"http://{address}:{port}/index"
    until(lambda: where.run("curl", "-sS", url, check=False).stdout ==
          "hello\n", url)


def gone(where, port):
    """With the container its port is free."""
    until(lambda: f":{port} " not in where.run("ss", "-tlnH"), "a free port")


def fetched(root, options, host):
    return sh(root, f"podman run --rm {options} test wget -q -O - "
              f"http://{host}/index")


@pytest.mark.parametrize("to", [PEER[V4], PEER[V6]], ids=["IPv4", "IPv6"])
def test_ping(root, to):
    """iputils that look at the sums."""
    root.has("ping")
    sh(root, f"pasta --config-net -- ping -n -c1 -W5 {to}")


def test_podman(lab, root):
    root.has("podman")
    sh(root, IMAGE + f"podman run -d --name web --network pasta "
       f"-p 18080:80 {HTTPD}")
    assert f" {HOST[V4]}/24 " in sh(root, "podman exec web ip addr")
    for _ in range(6):
        page(root, "127.0.0.1", 18080)
        page(lab.peer, HOST[V4], 18080)
        sh(root, "podman restart -t 0 web")
    page(lab.peer, HOST[V4], 18080)
    sh(root, "podman rm -f -t 0 web")
    gone(root, 18080)


def test_podman_pod(lab, root):
    """The pod has the ports, and its containers share loopback."""
    root.has("podman")
    sh(root, IMAGE + f"podman pod create --name pod --network pasta "
       f"-p 18082:80 {INFRA} && podman run -d --name web --pod pod {HTTPD}")
    for _ in range(2):
        page(root, "127.0.0.1", 18082)
        page(lab.peer, HOST[V4], 18082)
        assert fetched(root, "--pod pod", "127.0.0.1") == "hello\n"
        sh(root, "podman pod stop -t 0 pod && podman pod start pod")
    page(lab.peer, HOST[V4], 18082)
    sh(root, "podman pod rm -f -t 0 pod")
    gone(root, 18082)


def test_podman_bridge(lab, root):
    """One pasta for all, in front of a bridge; names of containers."""
    root.has("podman")
    sh(root, IMAGE + f"podman network create br && podman run -d --name web "
       f"--network br -p 18081:80 {HTTPD}")
    page(root, "127.0.0.1", 18081)
    page(lab.peer, HOST[V4], 18081)
    assert fetched(root, "--network br", "web") == "hello\n"
    sh(root, f"podman pod create --name pod --network br --network-alias web2 "
       f"-p 18083:80 {INFRA} && podman run -d --name web2 --pod pod {HTTPD}")
    page(lab.peer, HOST[V4], 18083)
    assert fetched(root, "--network br", "web2") == "hello\n"
    sh(root, "podman restart -t 0 web")
    page(lab.peer, HOST[V4], 18081)
    sh(root, "podman rm -f -t 0 web && podman pod rm -f -t 0 pod")


@pytest.fixture
def files(lab):
    """The peer's files, /index among them."""
    directory = lab.path("served")
    directory.mkdir()
    (directory / "index").write_text("hello\n")
    lab.serve(lab.peer, 8000, directory)
    return f"http://{PEER[V4]}:8000/index"


def test_podman_policy(root, files):
    """Podman's words for what a container may connect to."""
    root.has("podman")
    sh(root, IMAGE)
    get = f"test wget -T 5 -q -O - {files} 2>&1 || true"
    for options, said in (("--deny-out,any:80", "hello\n"),
                          ("--deny-out,tcp:any:8000", "No route to host"),
                          ("--allow-out,dns,--allow-out,loopback",
                           "No route to host")):
        assert said in sh(root, "podman run --rm --network "
                          f"pasta:{options} {get}")


def zone(lab):
    """A name that may be reached, and one that may not."""
    lab.resolver(PEER[V4])
    Zone(lab.peer, PEER[V4], far_test=FAR, evil_test=PEER)
    directory = lab.path("named")
    directory.mkdir()
    (directory / "index").write_text("hello\n")
    for ns in lab.far, lab.peer:
        lab.serve(ns, 8000, directory)


def names(root, start, get):
    """One name for the options in @start's {}, and nothing else."""
    words = "--allow-out dns --allow-out far.test:8000".split()
    start = start.format(",".join(words) if "pasta:" in start else " ".join(words))
    for name, said in ("far.test", "hello\n"), ("evil.test", ""):
        got = root.run("sh", "-c", f"{SETUP} {start} {get} http://{name}:8000/index",
                       check=False, seconds=100)
        assert (not got.status, got.stdout) == (bool(said), said), got


def test_podman_names(lab, root):
    """Podman has a container ask at an address of its own."""
    root.has("podman")
    zone(lab)
    sh(root, IMAGE)
    names(root, "podman run --rm --network pasta:{} test", "wget -q -O -")
    sh(root, """printf '[network]\npasta_options = ["--allow-out", "dns",
"--allow-out", "far.test:8000"]\n' >>.config/containers/containers.conf
cp .config/containers/containers.conf kept""")
    configured = "cp kept .config/containers/containers.conf; podman run --rm "
    names(root, configured + "test", "wget -q -O -")
    sh(root, "podman network create br")
    names(root, configured + "--network br test", "wget -q -O -")


@pytest.mark.parametrize("hosts", ["files dns", "files resolve [!UNAVAIL=return] dns",
                                   "resolve [!UNAVAIL=return] files myhostname dns"])
@pytest.mark.parametrize("conf", ["stub-resolv.conf", "resolv.conf"])
def test_resolved_names(lab, root, hosts, conf):
    """systemd-resolved is the host's resolver, on loopback, or beside that; libc asks by
    DNS, or by a socket."""
    root.has("resolvectl", "curl")
    zone(lab)
    root.admin.sh(f"""
        run=/run/systemd/resolve
        mkdir -p $run /etc/systemd/resolved.conf.d
        chown systemd-resolve: $run
        printf '[Resolve]\nDNS={PEER[V4]}\nFallbackDNS=\nLLMNR=no\nDNSSEC=no\n' \
            >/etc/systemd/resolved.conf.d/test.conf
        sed -i 's/^hosts:.*/hosts: {hosts}/' /etc/nsswitch.conf
        umount /etc/resolv.conf
        ln -sf $run/{conf} /etc/resolv.conf""")
    root.admin.spawn("/usr/lib/systemd/systemd-resolved")
    until(lambda: "127.0.0.53%lo:53 " in root.run("ss", "-ulnH") and
          root.ok("test", "-S", "/run/systemd/resolve/io.systemd.Resolve"),
          "systemd-resolved")
    names(root, "pasta --quiet --config-net {} --", "curl -sS --max-time 20")


@pytest.mark.parametrize("network", ["pasta", "br"])
def test_podman_host(lab, root, network):
    """host.containers.internal is the host, by a name in /etc/hosts."""
    root.has("podman")
    sh(root, IMAGE + "podman network create br")
    root.spawn("busybox", "httpd", "-f", "-p", f"{HOST[V4]}:18084", "-h",
               "/home/user/image/www")
    page(lab.peer, HOST[V4], 18084)
    assert fetched(root, f"--network {network}",
                   "host.containers.internal:18084") == "hello\n"


# --- buildah, RootlessKit ---------------------------------------------------


BUILD = """
printf 'FROM scratch\nCOPY image /\nRUN ["/bin/sh", "-c", \
"/bin/ip -o link; /bin/wget -q -O - %s"]\n' {url} >Containerfile
buildah build {options} -f Containerfile .
"""


@pytest.mark.parametrize("options", ["", "--network pasta:--mtu,2000",
                                     "--network private", "--network host"])
def test_buildah(root, files, options):
    root.has("buildah")
    out = sh(root, IMAGE.replace("tar ", "#") + BUILD.format(
        url=files, options=options))
    assert "\nhello\n" in out
    assert not "pasta" in options or f"{UPLINK}: " in out and "mtu 2000" in out


ROOTLESSKIT = {
    "pasta": "--net=pasta --port-driver=implicit",
    "pasta, detached": "--net=pasta --port-driver=implicit --detach-netns "
                       "--disable-host-loopback --ipv6",
    "slirp4netns": "--net=slirp4netns --port-driver=slirp4netns "
                   "--slirp4netns-sandbox=true --slirp4netns-seccomp=true "
                   "-p 0.0.0.0:18087:18087/tcp",
    "slirp4netns, builtin": "--net=slirp4netns --port-driver=builtin "
                            "--mtu=9000 -p 0.0.0.0:18087:18087/tcp",
    "slirp4netns, detached": "--net=slirp4netns --port-driver=slirp4netns "
                             "--detach-netns --disable-host-loopback "
                             "-p 0.0.0.0:18087:18087/tcp",
}


@pytest.mark.parametrize("name", ROOTLESSKIT)
def test_rootlesskit(lab, root, files, name):
    root.has("rootlesskit")
    inside = ("nsenter --net=$ROOTLESSKIT_STATE_DIR/netns"
              if "detached" in name else "")
    process = root.spawn("sh", "-c", SETUP + f"""
mkdir www
echo hello >www/index
exec rootlesskit {ROOTLESSKIT[name]} --copy-up=/etc sh -c '
    {inside} ip -br addr show dev tap0
    {inside} busybox wget -q -O - {files}
    exec {inside} busybox httpd -f -p 18087 -h www'""")
    process.says(r"^tap0 .* 10\.0\.2\.100/24")
    process.says("^hello$")
    page(root, "127.0.0.1", 18087)
    if "implicit" not in ROOTLESSKIT[name]:
        page(lab.peer, HOST[V4], 18087)
    for pid in children(process.pid):       # of nsenter
        signal_pid(pid, signal.SIGTERM)
    process.exit()
    gone(root, 18087)


# --- sandboxes --------------------------------------------------------------

BWRAP = "bwrap --dev-bind / / --unshare-user --unshare-pid --proc /proc"
BOXES = {
    "bwrap in pasta": "pasta -q --config-net -- {bwrap} -- {get}",
    "pasta in bwrap": "{bwrap} -- pasta -q --config-net -- {get}",
    # What waits until it has been joined
    "bwrap, joined": """mkfifo go
exec 5<>go
{bwrap} --unshare-net --info-fd 3 --block-fd 4 -- {get} 3>info 4<go 5>&- &
until pid=$(jq -e '.["child-pid"]' info 2>/dev/null); do sleep 0.02; done
pasta -q --config-net $pid
echo >go
wait $!""",
    "firejail in pasta": "pasta -q --config-net -- firejail --quiet --noprofile {get}",
    "pasta in unshare": "unshare -Urmpf --mount-proc pasta -q --config-net -- {get}",
    "unshare in pasta": "pasta -q --config-net -- unshare -Urmpf --mount-proc {get}",
    "pasta in pasta": "pasta -q --config-net -- pasta -q --config-net -- {get}",
}


@pytest.mark.parametrize("name", BOXES)
def test_box(root, files, name):
    root.has(*{"bwrap", "firejail", "jq"} & set(BOXES[name].replace("{bwrap}", "bwrap").
                                                split()))
    get = f"busybox wget -q -O - {files}"
    assert sh(root, BOXES[name].format(bwrap=BWRAP, get=get)) == "hello\n"


@pytest.mark.parametrize("start", [
    "pasta -q --config-net --runas 0 --netns-only -- {nspawn} {get}",
    """ip netns add box
pasta -q --config-net --runas 0 --netns /run/netns/box
{nspawn} --network-namespace-path=/run/netns/box {get}
ip netns del box"""], ids=["in pasta", "joined"])
def test_nspawn(root, files, start):
    root.has("systemd-nspawn")
    out = root.admin.sh("set -e\ncd /tmp\n" + IMAGE.partition("tar ")[0] + """
mkdir -p image/etc image/usr image/proc image/sys image/dev image/run image/tmp
touch image/etc/os-release
""" + start.format(nspawn="systemd-nspawn -q --register=no --keep-unit --pipe "
                   "-D image", get=f"/bin/busybox wget -q -O - {files}"))
    assert out.endswith("hello\n")


# --- virtual machines -------------------------------------------------------

class Machine(qemu.Machine):
    """A guest whose first serial port @process has."""

    def __init__(self, lab, process):
        self.process, self.seen = process, 0
        self.console = lab.path("console.log")
        self.await_line("@@(ready)", qemu.BOOT_S, "boot")


def boots(lab, root):
    """Files of a guest with a shell."""
    image, modules = root.kernel()
    return image, qemu.initramfs(lab.tmp, modules)


APPEND = ("console=ttyS1 quiet panic=-1 random.trust_cpu=on mitigations=off")


def served(lab, root, guest, files, port):
    """By DHCP, to the peer, from there and from the host."""
    lease = Lease(guest.lease("udhcpc -i eth0 -n -q -f -s /lease"))
    assert lease.words("ip") == [HOST[V4]]
    guest.run("ip link set eth0 up; mkdir -p /www; echo hello >/www/index; "
              "httpd -p 80 -h /www")
    assert guest.run(f"wget -q -O - {files}") == "hello"
    page(root, "127.0.0.1", port)
    page(lab.peer, HOST[V4], port)


@pytest.mark.parametrize("vhost", [False, True], ids=["socket", "vhost-user"])
def test_qemu(lab, root, files, vhost):
    """-netdev passt starts us, and again if we have gone."""
    root.has("qemu-system-x86_64")
    image, archive = boots(lab, root)
    process = root.spawn(
        "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "256",
        "-object", "memory-backend-memfd,id=m,size=256M,share=on",
        "-machine", "pc,memory-backend=m", "-nodefaults", "-display", "none",
        "-no-reboot", "-kernel", image, "-initrd", archive, "-append", APPEND,
        "-serial", "stdio", "-serial", f"file:{lab.path('console.log')}",
        "-netdev", json.dumps({"type": "passt", "id": "n", "vhost-user": vhost,
                               "tcp-ports": [{"str": "18085:80"}]}),
        "-device", "virtio-net-pci,netdev=n", stdin=subprocess.PIPE)
    guest = Machine(lab, process)
    served(lab, root, guest, files, 18085)
    if not vhost:       # where QEMU 11.1 takes our end for that of the link
        old = daemons(root)
        signal_pid(old[0])
        until(lambda: daemons(root) not in (old, []), "passt again")
        until(lambda: guest.ok(f"wget -q -O - {files}"), "network again")
        page(lab.peer, HOST[V4], 18085)
    guest.power_off()
    until(lambda: not daemons(root), "passt's end")


NUMBERS = {"address": "10.0.0.9", "netmask": "255.255.255.0",
           "gateway": "10.0.0.1", "dns": "10.0.0.53",
           "map-host-loopback": "10.0.0.1", "map-guest-addr": "10.0.0.2",
           "dns-forward": "10.0.0.3", "dns-host": PEER[V4]}
NAMES = {"interface": UPLINK, "outbound": HOST[V4], "outbound-if4": UPLINK,
         "outbound-if6": UPLINK, "fqdn": "vm.example"}
SWITCHES = ("tcp", "udp", "icmp", "dhcp", "ndp", "dhcpv6", "ra", "dhcp-dns",
            "dhcp-search")
# What -netdev passt has, and more words of ours than it makes of it by itself
NETDEV = {
    "nothing": ({}, ""),
    "numbers": (NUMBERS, ""),
    "names": (NAMES, ""),
    "mtu and mac": ({"mtu": 1400, "mac": "52:54:00:12:34:57"},
                    "--mtu 1400 --mac-addr 52:54:00:12:34:57"),
    "lists": ({"search": [{"str": "a.example"}, {"str": "b.example"}],
               "tcp-ports": [{"str": "18091:80"}, {"str": "18092"}],
               "udp-ports": [{"str": "18091-18093"}]},
              "--tcp-ports 18091:80,18092 --udp-ports 18091-18093 --search"),
    "off": ({name: False for name in SWITCHES},
            " ".join(f"--no-{name}" for name in SWITCHES)),
    "on": ({name: True for name in SWITCHES}, ""),
    "freebind": ({"freebind": True}, "--freebind"),
    "IPv4": ({"ipv6": False}, "--ipv4-only"),
    "IPv6": ({"ipv4": False}, "--ipv6-only"),
    "neither quiet": ({"quiet": False}, ""),
    "path": ({"path": "/usr/bin/passt"}, ""),
    "words of ours": ({"param": [{"str": "--no-map-gw"}, {"str": "--hostname"},
                                 {"str": "vm"}]},
                      "--no-map-gw --hostname vm"),
}


@pytest.mark.parametrize("vhost", [False, True], ids=["socket", "vhost-user"])
@pytest.mark.parametrize("name", NETDEV)
def test_qemu_options(root, name, vhost):
    """Each of its options is one that we take, and is not fatal; no guest."""
    root.has("qemu-system-x86_64")
    options, expected = NETDEV[name]
    for key, value in {**NUMBERS, **NAMES}.items():
        if key in options:
            expected += f" --{key} {value}"
    process = root.spawn(
        "qemu-system-x86_64", "-accel", "tcg", "-m", "64",
        "-object", "memory-backend-memfd,id=m,size=64M,share=on",
        "-machine", "pc,memory-backend=m", "-nodefaults", "-display", "none",
        "-S", "-qmp", "stdio", "-device", "virtio-net-pci,netdev=n",
        "-netdev", json.dumps({"type": "passt", "id": "n",
                               "vhost-user": vhost, **options}),
        stdin=subprocess.PIPE)
    process.says('"QMP"')
    pid, = daemons(root)
    given = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    given = given.split("\0")
    for word in expected.split():
        assert word in given, given
    assert ("--vhost-user" in given) == vhost
    assert ("--quiet" in given) == options.get("quiet", True)
    process.popen.stdin.write(b'{"execute": "qmp_capabilities"}'
                              b'{"execute": "quit"}')
    process.popen.stdin.close()
    assert process.exit() == 0
    until(lambda: not daemons(root), "passt's end")


def daemons(root):
    """Those in the PID namespace of the root, as seen from here."""
    return [p for p in root.processes() if command(p).startswith("passt")]


def command(pid):
    with contextlib.suppress(OSError):      # it has just ended
        return pathlib.Path(f"/proc/{pid}/comm").read_text()
    return ""


DOMAIN = """<domain type='qemu'>
<name>vm</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
<os><type arch='x86_64' machine='pc'>hvm</type><kernel>{image}</kernel>
<initrd>{archive}</initrd><cmdline>{append}</cmdline></os>
<cpu mode='maximum'/><on_reboot>destroy</on_reboot>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<interface type='{kind}'>{source}<model type='virtio'/>
<backend type='passt' logFile='/home/user/passt.log' hostname='vm'/>
<portForward proto='tcp'><range start='18086' to='80'/></portForward>
<portForward proto='udp' address='127.0.0.1'><range start='9100' end='9105'
to='9200'/><range start='9103' exclude='yes'/></portForward></interface>
<serial type='unix'><source mode='bind' path='/home/user/serial'/></serial>
<serial type='file'><source path='{console}'/></serial>
<memballoon model='none'/></devices></domain>
"""


@pytest.mark.parametrize("kind", ["user", "vhostuser"])
def test_libvirt(lab, root, files, kind):
    root.has("virsh", "qemu-system-x86_64")
    image, archive = boots(lab, root)
    console = lab.path("console.log")
    console.touch()
    console.chmod(0o666)
    lab.path("vm.xml").write_text(DOMAIN.format(
        image=image, archive=archive, append=APPEND, kind=kind,
        console=console, source=f"<source dev='{UPLINK}'/>"))
    virsh = "virsh -q -c qemu:///session "
    sh(root, f"{virsh} define {lab.path('vm.xml')} && {virsh} start vm")
    guest = Machine(lab, root.spawn("socat", "-", "UNIX:/home/user/serial",
                                    stdin=subprocess.PIPE))
    served(lab, root, guest, files, 18086)
    assert daemons(root)
    sh(root, f"{virsh} destroy vm")
    until(lambda: not daemons(root), "passt's end")
    sh(root, f"{virsh} start vm && {virsh} destroy vm")


def test_guestfish(root, files):
    """libguestfs' own machine, emulated: minutes."""
    root.has("guestfish")
    root.kernel()
    out = root.sh(f"""
cd
export LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=force_tcg
exec guestfish --network -a /dev/null run : debug sh \\
    'ip -br addr show dev eth0; curl -sS {files}'""", seconds=900)
    assert " 169.254.2.15/16 " in out and "\nhello\n" in out
    until(lambda: not daemons(root), "passt's end")

import assert from "node:assert/strict";
import { test } from "node:test";
import { VmError } from "../../base/errors.js";
import type { MachineConfig } from "../../machine/config.js";
import { DEVICE_TYPES } from "../../machine/device-types.js";
import { formatIp } from "../../net/address.js";
import { PrintAndExit } from "./draft.js";
import { parseCommandLine } from "./parse.js";

function parse(line: string): MachineConfig {
  const config = parseCommandLine(line.split(" "), { program: "tandem", arch: "x86_64", deviceTypes: DEVICE_TYPES });
  if (config instanceof PrintAndExit) throw config;
  return config;
}

/** Networks in short. */
function shown({ netdevs }: MachineConfig): string[] {
  return netdevs.map((n) => {
    switch (n.type) {
      case "user": {
        const u = n.user;
        const v4 = u.ipv4
          ? ` ${formatIp(u.network)}/${u.prefix} ${formatIp(u.host)} ${formatIp(u.dns)} ${formatIp(u.dhcpStart)}`
          : "";
        const v6 = u.ipv6 ? ` ${formatIp(u.network6)}/${u.prefix6} ${formatIp(u.host6)}` : "";
        const f = u.forwards.map((r) => ` ${r.protocol}:${r.hostAddress}:${r.hostPort}>${r.guestPort}`).join("");
        return `${n.id}${v4}${v6}${u.restrict ? " restrict" : ""}${f}`;
      }
      case "socket":
        return `${n.id} ${n.mode} ${n.address.host}:${n.address.port}${"local" in n && n.local ? ` ${JSON.stringify(n.local)}` : ""}`;
      case "hubport":
        return `${n.id} hub${n.hub}${n.netdev ? ` ${n.netdev}` : ""}`;
      default:
        return n.id;
    }
  });
}

const V6 = " fec0::/64 fec0::2";
const rows: readonly (readonly [line: string, nets: string[], cards?: string[]])[] = [
  ["-nodefaults -netdev user,id=n", [`n 10.0.2.0/24 10.0.2.2 10.0.2.3 10.0.2.15${V6}`]],
  [
    "-netdev user,id=n,net=192.168.76.0/24,dhcpstart=192.168.76.9",
    [`n 192.168.76.0/24 192.168.76.2 192.168.76.3 192.168.76.9${V6}`],
  ],
  ["-netdev user,id=n,net=10.1.0.0/255.255.0.0,ipv6=off", ["n 10.1.0.0/16 10.1.0.2 10.1.0.3 10.1.0.15"]],
  ["-netdev user,id=n,net=172.20.0.0,host=172.20.0.9,ipv6=off", ["n 172.20.0.0/16 172.20.0.9 172.20.0.3 172.20.0.15"]],
  ["-netdev user,id=n,ipv6=on", [`n${V6}`]],
  ["-netdev user,id=n,ipv4=on,restrict=y", ["n 10.0.2.0/24 10.0.2.2 10.0.2.3 10.0.2.15 restrict"]],
  [
    "-netdev user,id=n,ipv6=off,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:53-:53",
    ["n 10.0.2.0/24 10.0.2.2 10.0.2.3 10.0.2.15 tcp::2222>22 udp:127.0.0.1:53>53"],
  ],
  [
    '-netdev {"type":"user","id":"n","ipv6":false,"hostfwd":[{"str":"tcp::1-:2"},{"str":"tcp::3-:4"}]}',
    ["n 10.0.2.0/24 10.0.2.2 10.0.2.3 10.0.2.15 tcp::1>2 tcp::3>4"],
  ],
  ["-netdev socket,id=n,listen=:1234", ["n listen 0.0.0.0:1234"]],
  ["-netdev socket,id=n,connect=127.0.0.1:1234", ["n connect 127.0.0.1:1234"]],
  ["-netdev socket,id=n,mcast=230.0.0.1:1234,localaddr=127.0.0.1", ['n mcast 230.0.0.1:1234 "127.0.0.1"']],
  ["-netdev hubport,id=n,hubid=3", ["n hub3"]],
  [
    "-nic user,ipv6=off,model=virtio-net-pci,mac=52:54:00:00:00:01",
    ["#net0 10.0.2.0/24 10.0.2.2 10.0.2.3 10.0.2.15"],
    ['virtio-net-pci {"netdev":"#net0","mac":"52:54:00:00:00:01"}'],
  ],
  [
    "-net nic,model=virtio -net user,ipv6=off",
    ["#hub0 10.0.2.0/24 10.0.2.2 10.0.2.3 10.0.2.15"],
    ['virtio-net-pci {"netdev":"#hub0"}'],
  ],
  [
    "-net nic,model=virtio -net nic,model=virtio -net socket,listen=:1",
    ["#hub0 listen 0.0.0.0:1", "#hubcard0 hub0", "#hubcard1 hub0", "#hubnet0 hub0 #hub0"],
    ['virtio-net-pci {"netdev":"#hubcard0"}', 'virtio-net-pci {"netdev":"#hubcard1"}'],
  ],
  ["-nic none", [], []],
  ["-net none", [], []],
  ["-nodefaults", [], []],
];

test("networks as configured", () => {
  for (const [line, nets, cards] of rows) {
    const config = parse(line);
    assert.deepEqual(shown(config), nets, line);
    if (cards)
      assert.deepEqual(
        config.devices.map((d) => `${d.driver} ${JSON.stringify(d.props)}`),
        cards,
        line,
      );
  }
});

const refused: readonly (readonly [string, RegExp])[] = [
  ["-netdev user", /^-netdev user: Parameter 'id' is missing$/],
  ["-netdev id=n", /does not accept value 'on'|Parameter 'type' is missing/],
  ["-netdev foo,id=n", /'type' does not accept value 'foo': one of hubport, socket, tap, user/],
  ["-netdev vde,id=n", /network backend 'vde' is not supported/],
  ["-netdev user,id=1n", /expects an identifier/],
  ["-netdev user,id=n,foo=1", /Invalid parameter 'foo'/],
  ["-netdev user,id=n -netdev user,id=n", /Duplicate ID 'n' for netdev/],
  ["-netdev user,id=n,hostfwd=tcp:80", /Invalid host forwarding rule 'tcp:80'/],
  ["-netdev user,id=n,guestfwd=tcp:10.0.2.9:1-cmd:x", /'guestfwd' is not supported/],
  ["-netdev user,id=n,tftp=/srv", /'tftp' is not supported/],
  ["-netdev user,id=n,smb=/srv", /'smb' is not supported/],
  ["-netdev user,id=n,net=10.0.2.0/31", /Parameter 'net' expects/],
  ["-netdev user,id=n,net=10.0.2.0/255.0.255.0", /Parameter 'net' expects/],
  ["-netdev user,id=n,host=10.9.9.9", /'host' is not in the network/],
  ["-netdev user,id=n,dns=10.0.2.2", /'dns' must be different/],
  ["-netdev user,id=n,ipv4=off,ipv6=off", /IPv4 and IPv6 disabled/],
  ["-netdev socket,id=n", /exactly one of/],
  ["-netdev socket,id=n,listen=:1,connect=:2", /exactly one of/],
  ["-netdev socket,id=n,listen=:99999", /expects \[HOST\]:PORT/],
  ["-netdev socket,id=n,mcast=10.0.0.1:5", /a multicast address/],
  ["-netdev socket,id=n,udp=127.0.0.1:5", /localaddr= is mandatory/],
  ["-netdev tap,id=n", /a tap needs fd=/],
  ["-netdev tap,id=n,fd=9,vhost=on", /vhost=on is not supported/],
  ["-netdev tap,id=n,ifname=tap0", /ifname= is not supported/],
  ["-netdev hubport,id=n", /Parameter 'hubid' is missing/],
  ["-nic user,model=foo", /Unsupported NIC model: foo/],
  ["-nic user,model=virtio,mac=xx", /invalid syntax for ethernet address/],
  ["-nic user,model=virtio,mac=01:00:00:00:00:00", /multicast MAC/],
  ["-object filter-dump,id=d,netdev=n", /Parameter 'file' is missing/],
];

test("refused networks name themselves", () => {
  for (const [line, message] of refused)
    assert.throws(
      () => parse(line),
      (e: unknown) => e instanceof VmError && !e.message.includes("\n") && message.test(e.message),
      line,
    );
});

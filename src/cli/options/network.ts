/**
 * -netdev, -nic, -net.
 * Source: QEMU 7.2 documentation, "Network options".
 */
import { VmError } from "../../base/errors.js";
import type { NetAddress } from "../../host/network.js";
import { NIC_MODELS } from "../../machine/catalog.js";
import type { DeviceConfig, NetdevConfig } from "../../machine/config.js";
import { parseIpv4, parseIpv6, samePrefix } from "../../net/address.js";
import { DEFAULT_USER_NET, type HostForward, parseForward, type UserNetConfig } from "../../net/user/config.js";
import { checkId } from "./characters.js";
import { type Draft, type OptionGroup, PrintAndExit } from "./draft.js";
import { isHelp, type Pair, parseObject, splitList, toMap, toProperties } from "./grammar.js";
import { PropReader } from "./reader.js";

export const NETDEV_TYPES = ["hubport", "socket", "tap", "user"] as const;
/** Types of QEMU that are not there. */
const OTHER_TYPES = ["bridge", "vde", "l2tpv3", "netmap", "vhost-user", "vhost-vdpa", "stream", "dgram", "af-xdp"];
const MAX_FORWARDS = 256;

/** Keys that may be given several times. */
const REPEATED = ["hostfwd", "guestfwd", "dnssearch"];

type Backend = DistributiveOmit<NetdevConfig, "id" | "origin">;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** The properties of one option; repeated keys are numbered so that none is lost. */
function read(value: string, impliedKey: string, origin: string): PropReader {
  if (value.startsWith("{")) {
    // hostfwd and the like are arrays of {"str": ...} there.
    const flat = new Map<string, string>();
    for (const [k, v] of parseObject(value, impliedKey, origin)) flat.set(k.replace(/\.str$/, ""), v);
    return new PropReader(flat, origin);
  }
  const seen = new Map<string, number>();
  const pairs = splitList(value, impliedKey).map((p): Pair => {
    if (!REPEATED.includes(p.name)) return p;
    const n = seen.get(p.name) ?? 0;
    seen.set(p.name, n + 1);
    return { ...p, name: `${p.name}.${n}` };
  });
  return new PropReader(toMap(pairs), origin);
}

/** All values of a repeated key. */
function all(r: PropReader, name: string): string[] {
  const out: string[] = [];
  const single = r.text(name);
  if (single !== undefined) out.push(single);
  for (let n = 0; n < MAX_FORWARDS; n++) {
    const v = r.text(`${name}.${n}`);
    if (v === undefined) break;
    out.push(v);
  }
  return out;
}

function ipv4(r: PropReader, name: string, text: string): Uint8Array {
  return parseIpv4(text) ?? r.fail("option/invalid", `Parameter '${name}' expects an IPv4 address, not '${text}'`);
}

function ipv6(r: PropReader, name: string, text: string): Uint8Array {
  return parseIpv6(text) ?? r.fail("option/invalid", `Parameter '${name}' expects an IPv6 address, not '${text}'`);
}

/** The first address of a network with a number in its host part. */
function inside(network: Uint8Array, prefix: number, n: number): Uint8Array {
  const a = network.slice();
  for (let bit = prefix; bit < network.length * 8; bit++) a[bit >> 3] = a[bit >> 3]! & ~(0x80 >> (bit & 7));
  for (let i = a.length - 1, rest = n; rest > 0; i--, rest = Math.floor(rest / 256)) a[i] = a[i]! | (rest & 255);
  return a;
}

/** `net=10.0.2.0/24`, `net=10.0.2.0/255.255.255.0`, `net=10.0.2.0`. */
function readNet(r: PropReader): { network: Uint8Array; prefix: number } {
  const text = r.text("net");
  if (text === undefined) return { network: DEFAULT_USER_NET.network, prefix: DEFAULT_USER_NET.prefix };
  const [address, mask] = text.split("/", 2) as [string, string | undefined];
  const a = ipv4(r, "net", address);
  let prefix = a[0]! < 128 ? 8 : a[0]! < 192 ? 16 : 24;
  if (mask !== undefined) {
    const bytes = mask.includes(".") ? parseIpv4(mask) : undefined;
    const bits = bytes ? [...bytes].map((b) => b.toString(2).padStart(8, "0")).join("") : undefined;
    prefix = bits === undefined ? (/^\d{1,2}$/.test(mask) ? Number(mask) : -1) : /^1*0*$/.test(bits) ? bits.indexOf("0") : -1;
    if (bits !== undefined && !bits.includes("0")) prefix = 32;
  }
  if (prefix < 4 || prefix > 30)
    return r.fail("option/invalid", `Parameter 'net' expects ADDRESS/BITS with 4 to 30 bits, or ADDRESS/MASK, not '${text}'`);
  return { network: inside(a, prefix, 0), prefix };
}

function readUser(r: PropReader): Backend {
  r.refuse("smb", "smbserver", "tftp", "ipv6-net");
  if (all(r, "guestfwd").length > 0) r.fail("option/unsupported", "Parameter 'guestfwd' is not supported");
  const v4 = r.flag("ipv4");
  const v6 = r.flag("ipv6");
  // One that is asked for alone leaves the other out.
  const useV4 = v4 ?? v6 !== true;
  const useV6 = v6 ?? v4 !== true;
  if (!useV4 && !useV6) r.fail("option/invalid", "IPv4 and IPv6 disabled");
  const { network, prefix } = readNet(r);
  const address = (name: string, n: number) => {
    const text = r.text(name);
    const a = text === undefined ? inside(network, prefix, n) : ipv4(r, name, text);
    if (!samePrefix(a, network, prefix)) r.fail("option/invalid", `${name}=${text}: '${name}' is not in the network`);
    return a;
  };
  const host = address("host", 2);
  const dhcpStart = address("dhcpstart", 15);
  const dns = address("dns", 3);
  const same = (a: Uint8Array, b: Uint8Array) => a.join() === b.join();
  if (same(host, dns)) r.fail("option/invalid", "'dns' must be different from 'host'");
  const text6 = r.text("ipv6-prefix") ?? r.text("ip6-prefix");
  const network6Text = text6 === undefined ? undefined : ipv6(r, "ipv6-prefix", text6);
  const prefix6 = r.number("ipv6-prefixlen", 4, 126) ?? DEFAULT_USER_NET.prefix6;
  const network6 = inside(network6Text ?? DEFAULT_USER_NET.network6, prefix6, 0);
  const address6 = (name: string, n: number) => {
    const t = r.text(name);
    return t === undefined ? inside(network6, prefix6, n) : ipv6(r, name, t);
  };
  const word = (name: string, max: number) => {
    const t = r.text(name);
    if (t !== undefined && t.length > max) r.fail("option/invalid", `Parameter '${name}' is longer than ${max} characters`);
    return t;
  };
  const user: UserNetConfig = {
    ipv4: useV4,
    network,
    prefix,
    host,
    dns,
    dhcpStart,
    ipv6: useV6,
    network6,
    prefix6,
    host6: address6("ipv6-host", 2),
    dns6: address6("ipv6-dns", 3),
    restrict: r.flag("restrict", false),
    hostname: word("hostname", 255),
    domainName: word("domainname", 255),
    tftpServerName: word("tftp-server-name", 255),
    bootFile: word("bootfile", 127),
    dnsSearch: all(r, "dnssearch"),
    forwards: all(r, "hostfwd").map((t) => readForward(t, r)),
  };
  return { type: "user", user };
}

function readForward(text: string, r: PropReader): HostForward {
  return (
    parseForward(text) ??
    r.fail(
      "option/invalid",
      `Invalid host forwarding rule '${text}': expected [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport`,
    )
  );
}

function readAddress(r: PropReader, name: string, text: string): NetAddress {
  const m = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  if (!m || Number(m[3]) > 65535) return r.fail("option/invalid", `Parameter '${name}' expects [HOST]:PORT, not '${text}'`);
  return { host: m[1] ?? m[2]!, port: Number(m[3]) };
}

function readSocket(r: PropReader): Backend {
  r.refuse("fd");
  const given = (["listen", "connect", "mcast", "udp"] as const).flatMap((mode) => {
    const text = r.text(mode);
    return text === undefined ? [] : [{ mode, text }];
  });
  if (given.length !== 1) return r.fail("option/invalid", "exactly one of listen=, connect=, mcast= or udp= is required");
  const { mode, text } = given[0]!;
  const address = readAddress(r, mode, text);
  const local = r.text("localaddr");
  switch (mode) {
    case "listen":
    case "connect":
      if (local !== undefined) r.fail("option/invalid", `localaddr= is not valid with ${mode}=`);
      return {
        type: "socket",
        mode,
        address: { host: address.host || (mode === "listen" ? "0.0.0.0" : "127.0.0.1"), port: address.port },
      };
    case "mcast":
      if (!parseIpv4(address.host) || Number(address.host.split(".")[0]) >> 4 !== 14)
        r.fail("option/invalid", `mcast=${text}: a multicast address is from 224.0.0.0 to 239.255.255.255`);
      if (local !== undefined) ipv4(r, "localaddr", local);
      return { type: "socket", mode, address, local };
    case "udp":
      if (local === undefined) return r.fail("option/missing", "localaddr= is mandatory with udp=");
      return { type: "socket", mode, address, local: readAddress(r, "localaddr", local) };
  }
}

function readTap(r: PropReader): Backend {
  r.refuse("fds", "vhostfds", "vhostfd", "queues", "helper", "br");
  if (r.flag("vhost", false)) r.fail("option/unsupported", "vhost=on is not supported");
  for (const name of ["script", "downscript"]) r.only(name, ["no", ""]);
  if (r.text("ifname") !== undefined) r.fail("option/unsupported", "ifname= is not supported: open the tap and pass it with fd=");
  for (const name of ["vnet_hdr", "sndbuf", "poll-us"]) r.text(name);
  const fd = r.number("fd", 0, 2 ** 31 - 1);
  if (fd === undefined) return r.fail("option/missing", "a tap needs fd=, the descriptor of an open tap device");
  return { type: "tap", fd };
}

function readBackend(type: string, r: PropReader): Backend {
  switch (type) {
    case "user":
      return readUser(r);
    case "socket":
      return readSocket(r);
    case "tap":
      return readTap(r);
    case "hubport": {
      const hub = r.number("hubid", 0, 2 ** 31 - 1);
      if (hub === undefined) return r.fail("option/missing", "Parameter 'hubid' is missing");
      return { type: "hubport", hub, netdev: r.text("netdev") };
    }
  }
  return r.fail(
    OTHER_TYPES.includes(type) ? "option/unsupported" : "option/invalid",
    OTHER_TYPES.includes(type)
      ? `network backend '${type}' is not supported`
      : `Parameter 'type' does not accept value '${type}': one of ${NETDEV_TYPES.join(", ")}`,
  );
}

const HELP = `Available netdev backend types:\n${NETDEV_TYPES.map((t) => `${t}\n`).join("")}`;

/** The configuration of a `-netdev`, also of `netdev_add`. @throws VmError | PrintAndExit */
export function readNetdev(value: string, origin: string): NetdevConfig {
  if (isHelp(value)) throw new PrintAndExit(HELP);
  const r = read(value, "type", origin);
  const type = r.need("type");
  const id = r.need("id");
  checkId(id, origin);
  const backend = readBackend(type, r);
  r.end();
  return { ...backend, id, origin } as NetdevConfig;
}

function addNetdev(draft: Draft, config: NetdevConfig): void {
  if (draft.netdevs.some((n) => n.id === config.id))
    throw new VmError("option/invalid", `${config.origin}: Duplicate ID '${config.id}' for netdev`);
  draft.netdevs.push(config);
}

function parseNetdev(draft: Draft, value: string, origin: string): void {
  addNetdev(draft, readNetdev(value, origin));
}

/** The `-device` of a card: its model by QEMU's short names, and what else `-nic` says of it. */
function readCard(r: PropReader, netdev: string | undefined, origin: string): DeviceConfig {
  const model = r.text("model") ?? DEFAULT_NIC;
  if (isHelp(model)) throw new PrintAndExit(`Available NIC models:\n${NIC_MODELS.map((m) => `${m.name}\n`).join("")}`);
  const found = NIC_MODELS.find((m) => m.name === model || m.device === model);
  if (!found) return r.fail("option/unsupported", `Unsupported NIC model: ${model}`);
  const props = new Map<string, string>();
  if (netdev !== undefined) props.set("netdev", netdev);
  const mac = r.text("mac") ?? r.text("macaddr");
  if (mac !== undefined) {
    if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(mac)) r.fail("option/invalid", "invalid syntax for ethernet address");
    if (Number.parseInt(mac.slice(0, 2), 16) & 1)
      r.fail("option/invalid", "NIC cannot have multicast MAC address (odd 1st byte)");
    props.set("mac", mac);
  }
  const addr = r.text("addr");
  if (addr !== undefined) props.set("addr", addr);
  const vectors = r.number("vectors", 0, 0x7ffffff);
  if (vectors !== undefined && found.device.startsWith("virtio")) props.set("vectors", String(vectors));
  return { driver: found.device, id: r.text("id"), props: toProperties(props), origin };
}

/** -nic TYPE,...: a network and a card at it, in one. */
function parseNic(draft: Draft, value: string, origin: string): void {
  draft.netSet = true;
  if (value === "none") {
    draft.nicNone = true;
    return;
  }
  if (isHelp(value)) throw new PrintAndExit(HELP);
  const r = read(value, "type", origin);
  const type = r.need("type");
  if (type === "none") r.fail("option/invalid", "-nic none takes nothing else");
  const netdev = r.text("netdev-id") ?? `#net${draft.nics.length}`;
  const card = readCard(r, netdev, origin);
  const backend = readBackend(type, r);
  r.end();
  addNetdev(draft, { ...backend, id: netdev, origin } as NetdevConfig);
  draft.nics.push(card);
}

/** -net nic,... and -net TYPE,...: everything hangs at one hub, unless there is one of each. */
function parseNet(draft: Draft, value: string, origin: string): void {
  draft.netSet = true;
  if (value === "none") {
    draft.nicNone = true;
    return;
  }
  if (isHelp(value)) throw new PrintAndExit(HELP);
  const r = read(value, "type", origin);
  const type = r.need("type");
  if (type === "nic") {
    const netdev = r.text("netdev");
    const name = r.text("name");
    const card = readCard(r, netdev, origin);
    r.end();
    draft.hubCards.push({ card: { ...card, id: card.id ?? name }, netdev });
    return;
  }
  const id = r.text("id") ?? r.text("name") ?? `#hub${draft.hubNets.length}`;
  const backend = readBackend(type, r);
  r.end();
  const config = { ...backend, id, origin } as NetdevConfig;
  addNetdev(draft, config);
  draft.hubNets.push(config);
}

/** What `-net` and `-nic` lead to, once all is known: their cards, before the user's devices. */
export function finishNetwork(draft: Draft): DeviceConfig[] {
  const cards: DeviceConfig[] = [...draft.nics];
  const loose = draft.hubCards.filter((c) => c.netdev === undefined);
  for (const c of draft.hubCards) if (c.netdev !== undefined) cards.push(c.card);
  if (loose.length === 1 && draft.hubNets.length === 1)
    cards.push({ ...loose[0]!.card, props: { ...loose[0]!.card.props, netdev: draft.hubNets[0]!.id } });
  else {
    for (const [n, c] of loose.entries()) {
      const id = `#hubcard${n}`;
      addNetdev(draft, { type: "hubport", id, hub: 0, origin: c.card.origin });
      cards.push({ ...c.card, props: { ...c.card.props, netdev: id } });
    }
    for (const [n, net] of draft.hubNets.entries())
      addNetdev(draft, { type: "hubport", id: `#hubnet${n}`, hub: 0, netdev: net.id, origin: net.origin });
  }
  if (!draft.netSet && !draft.noDefaults && draft.netdevs.length === 0 && draft.deviceTypes.some((t) => t.name === DEFAULT_NIC)) {
    const origin = "default network card";
    addNetdev(draft, { type: "user", id: "#net0", user: DEFAULT_USER_NET, origin });
    cards.push({ driver: DEFAULT_NIC, props: { netdev: "#net0" }, origin });
  }
  return cards;
}

/** What the machine has when nobody says anything of networks. */
const DEFAULT_NIC = NIC_MODELS.find((m) => m.default)!.device;

export const NETWORK: OptionGroup = {
  heading: "Network options",
  options: [
    {
      names: ["netdev"],
      argument: "TYPE,id=str[,...]",
      help: [
        "configure a network; a card uses it by netdev=id. '-netdev help' for list",
        "user,id=str[,ipv4=on|off][,net=addr[/mask]][,host=addr][,dhcpstart=addr][,dns=addr]",
        "    [,ipv6=on|off][,ipv6-prefix=addr][,ipv6-prefixlen=n][,ipv6-host=addr][,ipv6-dns=addr]",
        "    [,restrict=on|off][,hostname=name][,domainname=name][,dnssearch=name][,hostfwd=rule]",
        "    [,bootfile=name][,tftp-server-name=name]",
        "    rule: [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
        "socket,id=str,listen=[host]:port | connect=host:port | mcast=addr:port[,localaddr=addr] |",
        "    udp=host:port,localaddr=host:port",
        "tap,id=str,fd=n",
        "hubport,id=str,hubid=n[,netdev=id]",
      ],
      parse: parseNetdev,
    },
    {
      names: ["nic"],
      argument: "none | TYPE[,model=name][,mac=addr][,...]",
      help: ["a network and a card at it in one; 'none': no default card", "-nic model=help for the models"],
      parse: parseNic,
    },
    {
      names: ["net"],
      argument: "none | nic[,model=name][,macaddr=addr][,netdev=id] | TYPE[,...]",
      help: ["the older form: cards and networks that meet at a hub"],
      parse: parseNet,
    },
  ],
};

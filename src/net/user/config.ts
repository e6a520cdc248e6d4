/**
 * What a user-mode network is told, and the addresses that follow.
 * Source: QEMU 7.2 documentation, `-netdev user`.
 */

import { parseIpv4, parseIpv6 } from "../address.js";

/** `hostfwd`. */
export interface HostForward {
  readonly protocol: "tcp" | "udp";
  /** "" = all addresses of the host. */
  readonly hostAddress: string;
  readonly hostPort: number;
  /** Four bytes; absent = the first address that DHCP gives. */
  readonly guestAddress?: Uint8Array | undefined;
  readonly guestPort: number;
}

/** Addresses are bytes: 4 or 16. */
export interface UserNetConfig {
  readonly ipv4: boolean;
  readonly network: Uint8Array;
  /** Bits of the network part. */
  readonly prefix: number;
  /** The gateway: the host's loopback seen from the guest. */
  readonly host: Uint8Array;
  readonly dns: Uint8Array;
  readonly dhcpStart: Uint8Array;
  readonly ipv6: boolean;
  readonly network6: Uint8Array;
  readonly prefix6: number;
  readonly host6: Uint8Array;
  readonly dns6: Uint8Array;
  /** The guest reaches nothing but what is forwarded to it. */
  readonly restrict: boolean;
  /** Name that DHCP gives the guest. */
  readonly hostname?: string | undefined;
  readonly domainName?: string | undefined;
  readonly dnsSearch: readonly string[];
  /** Names in DHCP's answers for a boot over the network; the server is the user's, there is no TFTP here. */
  readonly bootFile?: string | undefined;
  readonly tftpServerName?: string | undefined;
  readonly forwards: readonly HostForward[];
}

/** Ethernet address of the gateway, as QEMU's: 52:55 and the gateway's IPv4 address. */
export function gatewayMac(config: UserNetConfig): Uint8Array {
  return Uint8Array.of(0x52, 0x55, ...config.host);
}

/** The network of QEMU's defaults: 10.0.2.0/24 and fec0::/64. */
export const DEFAULT_USER_NET: UserNetConfig = {
  ipv4: true,
  network: Uint8Array.of(10, 0, 2, 0),
  prefix: 24,
  host: Uint8Array.of(10, 0, 2, 2),
  dns: Uint8Array.of(10, 0, 2, 3),
  dhcpStart: Uint8Array.of(10, 0, 2, 15),
  ipv6: true,
  network6: Uint8Array.of(0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
  prefix6: 64,
  host6: Uint8Array.of(0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2),
  dns6: Uint8Array.of(0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3),
  restrict: false,
  dnsSearch: [],
  forwards: [],
};

/**
 * `[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport`.
 * @returns undefined when it is not one
 */
export function parseForward(text: string): HostForward | undefined {
  const m = /^(?:(tcp|udp)?:)(\[[^\]]*\]|[^:[\]]*):(\d{1,5})-(\[[^\]]*\]|[^:[\]]*):(\d{1,5})$/.exec(text);
  if (!m) return undefined;
  const bare = (t: string) => t.replace(/^\[|\]$/g, "");
  const hostAddress = bare(m[2]!);
  const hostPort = Number(m[3]);
  const guestText = bare(m[4]!);
  const guestPort = Number(m[5]);
  if (hostPort > 65535 || guestPort < 1 || guestPort > 65535) return undefined;
  if (hostAddress !== "" && !parseIpv4(hostAddress) && !parseIpv6(hostAddress)) return undefined;
  const guestAddress = guestText === "" ? undefined : (parseIpv4(guestText) ?? parseIpv6(guestText));
  if (guestText !== "" && !guestAddress) return undefined;
  return { protocol: m[1] === "udp" ? "udp" : "tcp", hostAddress, hostPort, guestAddress, guestPort };
}

/** `[tcp|udp]:[hostaddr]:hostport`, as `hostfwd_remove` takes it; undefined when it is not one. */
export function parseForwardSource(text: string): Pick<HostForward, "protocol" | "hostAddress" | "hostPort"> | undefined {
  return parseForward(`${text}-:1`);
}

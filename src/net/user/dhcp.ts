/**
 * The DHCP and BOOTP server of a user-mode network. Sources: RFC 2131, RFC 2132, RFC 1542, RFC 3397 (search list).
 * An address belongs to an Ethernet address for as long as the network lives.
 */
import { get16, get32, put16, put32, sameBytes } from "../bytes.js";
import type { UserNetConfig } from "./config.js";

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
/** Guests that get an address. */
const MAX_LEASES = 64;
const LEASE_SECONDS = 86400;
const COOKIE = 0x63825363;
const OPTIONS = 240;
/** BOOTP's fixed part and its vendor area; the smallest answer (RFC 1542 2.1). */
const MIN_REPLY = 300;
const Field = {
  op: 0,
  htype: 1,
  hlen: 2,
  xid: 4,
  flags: 10,
  ciaddr: 12,
  yiaddr: 16,
  siaddr: 20,
  chaddr: 28,
  sname: 44,
  file: 108,
};
const FILE_BYTES = 128;
const BOOT_REQUEST = 1;
const BOOT_REPLY = 2;
const BROADCAST_FLAG = 0x8000;

const Option = {
  pad: 0,
  mask: 1,
  router: 3,
  dns: 6,
  hostname: 12,
  domainName: 15,
  requestedAddress: 50,
  leaseTime: 51,
  messageType: 53,
  serverId: 54,
  message: 56,
  tftpServerName: 66,
  searchList: 119,
  end: 255,
} as const;
const Message = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7, inform: 8 } as const;

export interface DhcpReply {
  readonly bytes: Uint8Array;
  /** Where it goes: an address, or the broadcast address. */
  readonly to: Uint8Array;
}

export class DhcpServer {
  /** Ethernet address as text to the offset from `dhcpStart`. */
  private readonly leases = new Map<string, number>();

  constructor(private readonly config: UserNetConfig) {}

  /** Answers a request; undefined when there is nothing to say. */
  answer(request: Uint8Array): DhcpReply | undefined {
    if (request.length < OPTIONS - 4 || request[Field.op] !== BOOT_REQUEST) return undefined;
    if (request[Field.htype] !== 1 || request[Field.hlen] !== 6) return undefined;
    const options = request.length >= OPTIONS && get32(request, OPTIONS - 4) === COOKIE ? readOptions(request) : new Map();
    const type: number = options.get(Option.messageType)?.[0] ?? 0;
    if (![0, Message.discover, Message.request, Message.inform].includes(type)) {
      if (type === Message.decline || type === Message.release) return undefined;
      if (type !== 0) return undefined;
    }
    const mac = request.slice(Field.chaddr, Field.chaddr + 6);
    const ciaddr = request.slice(Field.ciaddr, Field.ciaddr + 4);
    const server: Uint8Array | undefined = options.get(Option.serverId);
    // A client that has chosen another server.
    if (type === Message.request && server && !sameBytes(server, this.config.host)) return undefined;
    const address = type === Message.inform ? ciaddr : this.lease(mac);
    if (!address) return undefined;
    const asked: Uint8Array = options.get(Option.requestedAddress) ?? ciaddr;
    const nak = type === Message.request && get32(asked.length === 4 ? asked : NOTHING, 0) !== 0 && !sameBytes(asked, address);

    const out: number[] = [];
    const put = (code: number, bytes: ArrayLike<number>) => {
      for (let at = 0; at < bytes.length; at += 255) {
        const n = Math.min(255, bytes.length - at);
        out.push(code, n, ...Array.from({ length: n }, (_, i) => bytes[at + i]!));
      }
    };
    if (type !== 0) put(Option.messageType, [nak ? Message.nak : type === Message.discover ? Message.offer : Message.ack]);
    put(Option.serverId, this.config.host);
    if (nak) put(Option.message, text("requested address not available"));
    else this.describe(put, type !== 0 && type !== Message.inform);
    out.push(Option.end);

    const reply = new Uint8Array(Math.max(MIN_REPLY, OPTIONS + out.length));
    reply.set(request.subarray(0, OPTIONS - 4));
    reply[Field.op] = BOOT_REPLY;
    reply.fill(0, Field.yiaddr, Field.chaddr);
    reply.fill(0, Field.sname, OPTIONS);
    if (!nak) {
      if (type !== Message.inform) reply.set(address, Field.yiaddr);
      reply.set(this.config.host, Field.siaddr);
      const file = text(this.config.bootFile ?? "");
      reply.set(file.subarray(0, FILE_BYTES - 1), Field.file);
    }
    put32(reply, OPTIONS - 4, COOKIE);
    reply.set(out, OPTIONS);
    const known = get32(ciaddr, 0) !== 0 && !nak;
    const broadcast = (get16(request, Field.flags) & BROADCAST_FLAG) !== 0 || nak;
    return { bytes: reply, to: known ? ciaddr : broadcast ? BROADCAST : address };
  }

  private describe(put: (code: number, bytes: ArrayLike<number>) => void, withLease: boolean): void {
    const { config } = this;
    const mask = new Uint8Array(4);
    put32(mask, 0, config.prefix === 0 ? 0 : (0xffffffff << (32 - config.prefix)) >>> 0);
    put(Option.mask, mask);
    // A restricted guest has nowhere to go.
    if (!config.restrict) {
      put(Option.router, config.host);
      put(Option.dns, config.dns);
    }
    if (withLease) {
      const seconds = new Uint8Array(4);
      put32(seconds, 0, LEASE_SECONDS);
      put(Option.leaseTime, seconds);
    }
    if (config.hostname) put(Option.hostname, text(config.hostname));
    if (config.domainName) put(Option.domainName, text(config.domainName));
    if (config.tftpServerName) put(Option.tftpServerName, text(config.tftpServerName));
    if (config.dnsSearch.length > 0) put(Option.searchList, config.dnsSearch.flatMap(domainBytes));
  }

  private lease(mac: Uint8Array): Uint8Array | undefined {
    const key = mac.join(":");
    let n = this.leases.get(key);
    if (n === undefined) {
      n = this.leases.size;
      if (n >= MAX_LEASES) return undefined;
      this.leases.set(key, n);
    }
    const address = new Uint8Array(4);
    put32(address, 0, (get32(this.config.dhcpStart, 0) + n) >>> 0);
    return address;
  }
}

const NOTHING = new Uint8Array(4);
const BROADCAST = Uint8Array.of(255, 255, 255, 255);

function readOptions(request: Uint8Array): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let at = OPTIONS; at < request.length; ) {
    const code = request[at++]!;
    if (code === Option.end) break;
    if (code === Option.pad) continue;
    const n = request[at++] ?? 0;
    if (at + n > request.length) break;
    found.set(code, request.slice(at, at + n));
    at += n;
  }
  return found;
}

function text(t: string): Uint8Array {
  return new TextEncoder().encode(t);
}

/** A domain name as DNS writes it, not compressed (RFC 1035 3.1). */
function domainBytes(name: string): number[] {
  return [...name.split(".").flatMap((label) => [Math.min(63, label.length), ...text(label.slice(0, 63))]), 0];
}

/** A UDP part around a message of the server. */
export function dhcpDatagram(bytes: Uint8Array): Uint8Array {
  const part = new Uint8Array(8 + bytes.length);
  put16(part, 0, DHCP_SERVER_PORT);
  put16(part, 2, DHCP_CLIENT_PORT);
  put16(part, 4, part.length);
  part.set(bytes, 8);
  return part;
}

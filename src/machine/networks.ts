/** The networks of one machine: what `-netdev` names, opened on the host, and which card is at which. */
import { VmError } from "../base/errors.js";
import type { Host } from "../host/host.js";
import type { HostNetwork } from "../host/network.js";
import { formatIp } from "../net/address.js";
import { detachNic, type NetBackend, type NetBackendBase } from "../net/backend.js";
import { Hub, HubPort } from "../net/hub.js";
import { DEFAULT_MAX_LEN, pcapHeader, pcapRecord, TappedBackend } from "../net/pcap.js";
import { DatagramBackend, StreamSocketBackend } from "../net/socket.js";
import { TapBackend } from "../net/tap.js";
import { UserNet } from "../net/user/user-net.js";
import type { NetCard } from "./board.js";
import type { MachineConfig, NetdevConfig, ObjectConfig } from "./config.js";
import { LogFile } from "./log-file.js";

interface OpenNetdev {
  readonly config: NetdevConfig;
  readonly backend: NetBackendBase;
  /** What a card is given: the backend, or a tap on it. */
  readonly face: NetBackend;
  card: NetCard | undefined;
  /** Hangs at a hub's port. */
  atHub: boolean;
}

/** A network, or a card, as monitors show it. */
export interface NetdevSummary {
  readonly id: string;
  readonly type: NetdevConfig["type"];
  /** QEMU's words after `type=`. */
  readonly info: string;
  readonly card: NetCard | undefined;
  readonly hub: number | undefined;
  readonly linkUp: boolean;
}

export class Networks {
  private readonly open = new Map<string, OpenNetdev>();
  private readonly hubs = new Map<number, Hub>();
  private readonly captures: LogFile[] = [];
  private readonly loose: NetCard[] = [];
  private running = false;

  private constructor(private readonly host: Host) {}

  /** @throws VmError for the first that cannot be opened; the others are closed again */
  static async open(config: MachineConfig, host: Host): Promise<Networks> {
    const n = new Networks(host);
    try {
      const filters = config.objects.filter((o) => o.type === "filter-dump");
      // Ports name what hangs at them: those come first.
      for (const pass of [false, true])
        for (const c of config.netdevs)
          if ((c.type === "hubport") === pass)
            await n.add(
              c,
              filters.filter((f) => f.props.netdev === c.id),
            );
      const lost = filters.find((f) => !n.open.has(f.props.netdev ?? ""));
      if (lost) throw new VmError("net/unknown", `${lost.origin}: Parameter 'netdev' expects a network backend id`);
      return n;
    } catch (e) {
      await n.close();
      throw e;
    }
  }

  /** `netdev_add`. @throws VmError "net/io" | "net/unknown" | "option/invalid" */
  async add(config: NetdevConfig, filters: readonly ObjectConfig[] = []): Promise<void> {
    if (this.open.has(config.id)) throw new VmError("option/invalid", `${config.origin}: Duplicate ID '${config.id}' for netdev`);
    let backend: NetBackendBase;
    try {
      backend = await this.create(config);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new VmError(cause instanceof VmError ? cause.code : "net/io", `${config.origin}: ${message}`, { cause });
    }
    let face: NetBackend = backend;
    for (const f of filters) face = await this.capture(f, face);
    backend.setRunning(this.running);
    this.open.set(config.id, { config, backend, face, card: undefined, atHub: false });
  }

  private async create(config: NetdevConfig): Promise<NetBackendBase> {
    switch (config.type) {
      case "user": {
        const { host } = this;
        const net = new UserNet(config.id, config.user, host.network, host.scheduler, (out) => host.randomBytes(out));
        try {
          await net.open();
        } catch (e) {
          net.close();
          throw e;
        }
        return net;
      }
      case "socket": {
        const network = this.hostNetwork();
        switch (config.mode) {
          case "listen":
            return StreamSocketBackend.listen(config.id, network, config.address);
          case "connect":
            return StreamSocketBackend.connect(config.id, network, config.address);
          case "mcast":
            return DatagramBackend.multicast(config.id, network, config.address, config.local);
          case "udp":
            return DatagramBackend.unicast(config.id, network, config.local, config.address);
        }
        break;
      }
      case "hubport": {
        let hub = this.hubs.get(config.hub);
        if (!hub) {
          hub = new Hub(config.hub);
          this.hubs.set(config.hub, hub);
        }
        if (config.netdev === undefined) return hub.port(config.id);
        const behind = this.take(config.netdev);
        behind.atHub = true;
        return hub.port(config.id, behind.face);
      }
      case "tap": {
        const { openTap } = this.hostNetwork();
        if (!openTap) throw new VmError("option/unsupported", "tap devices are not supported on this host");
        return new TapBackend(config.id, await openTap(config.fd));
      }
    }
  }

  private hostNetwork(): HostNetwork {
    if (!this.host.network) throw new VmError("net/io", "this host has no network");
    return this.host.network;
  }

  private async capture(filter: ObjectConfig, inner: NetBackend): Promise<NetBackend> {
    const path = filter.props.file ?? "";
    const maxLen = filter.props.maxlen === undefined ? DEFAULT_MAX_LEN : Number(filter.props.maxlen);
    let log: LogFile;
    try {
      log = await LogFile.open(
        this.host.files,
        path,
        false,
        (e) => this.host.note(`${filter.origin}: ${e instanceof Error ? e.message : e}`),
        true,
      );
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new VmError("net/io", `${filter.origin}: could not open '${path}': ${why}`, { cause });
    }
    this.captures.push(log);
    log.write(pcapHeader(maxLen));
    return new TappedBackend(inner, (frame) => log.write(pcapRecord(frame, this.host.clock.wallMs(), maxLen)));
  }

  private take(id: string): OpenNetdev {
    const n = this.open.get(id);
    if (!n) throw new VmError("net/unknown", `netdev '${id}' not found`);
    if (n.card || n.atHub) throw new VmError("device/invalid-property", `netdev '${id}' is in use`);
    return n;
  }

  /** The network of a card's `netdev=`. @throws VmError "net/unknown" | "device/invalid-property" when it is taken */
  attach(id: string, card: NetCard): NetBackend {
    if (!this.open.has(id)) throw new VmError("net/unknown", `Property '${card.model}.netdev' can't find value '${id}'`);
    const n = this.take(id);
    n.card = card;
    return n.face;
  }

  /** A card that has no network. */
  addLooseCard(card: NetCard): void {
    this.loose.push(card);
  }

  /** A card has gone. */
  detach(id: string): void {
    const n = this.open.get(id);
    if (!n) return;
    n.card = undefined;
    detachNic(n.face);
  }

  /** `netdev_del`. The card, if any, stays with its cable unplugged. @throws VmError "device/unknown" */
  remove(id: string): void {
    const n = this.open.get(id);
    if (!n) throw new VmError("device/unknown", `Device '${id}' not found`);
    this.open.delete(id);
    n.face.onLinkChange(false);
    detachNic(n.face);
    n.face.close();
  }

  /** `set_link`, by the id of a network or the name of a card. @throws VmError "device/unknown" */
  setLink(name: string, up: boolean): void {
    const n = this.open.get(name) ?? [...this.open.values()].find((o) => o.card?.name === name);
    if (!n) throw new VmError("device/unknown", `Device '${name}' not found`);
    n.backend.setLink(up);
  }

  /** A user-mode network by its id, or the only one. @throws VmError "net/unknown" */
  user(id?: string): UserNet {
    if (id !== undefined) {
      const n = this.open.get(id);
      if (!n) throw new VmError("net/unknown", `unrecognized netdev id '${id}'`);
      if (n.backend instanceof UserNet) return n.backend;
      throw new VmError("net/unknown", `netdev '${id}' is not a user-mode network`);
    }
    const first = [...this.open.values()].find((n) => n.backend instanceof UserNet);
    if (!first) throw new VmError("net/unknown", "no user-mode network");
    return first.backend as UserNet;
  }

  /** The port that a `socket,listen=` network has been given. */
  listeningPort(id: string): number | undefined {
    const backend = this.open.get(id)?.backend;
    return backend instanceof StreamSocketBackend ? backend.address?.port : undefined;
  }

  users(): readonly UserNet[] {
    return [...this.open.values()].flatMap((n) => (n.backend instanceof UserNet ? [n.backend] : []));
  }

  list(): NetdevSummary[] {
    return [...this.open.values()].map((n) => ({
      id: n.config.id,
      type: n.config.type,
      info: describe(n.config, n.backend),
      card: n.card,
      hub: n.backend instanceof HubPort ? n.backend.hub.number : undefined,
      linkUp: n.backend.linkUp,
    }));
  }

  /** Cards without a network. */
  looseCards(): readonly NetCard[] {
    return this.loose;
  }

  setRunning(on: boolean): void {
    this.running = on;
    for (const n of this.open.values()) n.backend.setRunning(on);
  }

  async close(): Promise<void> {
    for (const n of this.open.values()) n.backend.close();
    this.open.clear();
    for (const log of this.captures) await log.close();
  }
}

function describe(config: NetdevConfig, backend: NetBackend): string {
  switch (config.type) {
    case "user":
      return `net=${formatIp(config.user.network)},restrict=${config.user.restrict ? "on" : "off"}`;
    case "socket":
      return (backend as StreamSocketBackend | DatagramBackend).description;
    case "tap":
      return `fd=${config.fd} (${(backend as TapBackend).interfaceName})`;
    case "hubport":
      return "";
  }
}

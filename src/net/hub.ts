/** A hub: what comes in at one port goes out at all others. Source: QEMU 7.2 documentation, `-netdev hubport`. */
import { HoldingBackend, type NetBackend } from "./backend.js";

export class Hub {
  readonly ports: HubPort[] = [];
  constructor(readonly number: number) {}

  /** A new port; `netdev`: a network behind it instead of a card. */
  port(id: string, netdev?: NetBackend): HubPort {
    const p = new HubPort(id, this, netdev);
    this.ports.push(p);
    return p;
  }

  pass(from: HubPort, frame: Uint8Array): void {
    for (const p of this.ports) if (p !== from) p.put(frame);
  }

  remove(port: HubPort): void {
    const i = this.ports.indexOf(port);
    if (i >= 0) this.ports.splice(i, 1);
  }
}

/** A port with a card at it, or with another network. */
export class HubPort extends HoldingBackend {
  constructor(
    id: string,
    readonly hub: Hub,
    readonly netdev: NetBackend | undefined,
  ) {
    super(id);
    if (netdev)
      netdev.onReceive = (frame) => {
        hub.pass(this, frame);
        return true;
      };
  }

  /** From the card. */
  override send(frame: Uint8Array): void {
    if (this.linkUp) this.hub.pass(this, frame);
  }

  /** From the hub. */
  put(frame: Uint8Array): void {
    if (this.netdev) this.netdev.send(frame);
    else this.deliver(frame);
  }

  override close(): void {
    this.hub.remove(this);
  }
}

/**
 * The face of a network to a network card: Ethernet frames (without preamble and checksum) in both directions.
 * A backend is attached to at most one card at a time; hubs and pairs connect more.
 */

import type { NetHeader } from "./offload.js";

/** Largest frame a backend may be given or give: 64 KiB of IP packet behind an Ethernet header with two VLAN tags. */
export const MAX_FRAME_BYTES = 65536 + 22;

/** What a card's driver takes of the work on frames for the guest: such a frame may come without it. */
export interface CardOffloads {
  /** Checksums may be left as the sum of the pseudo header. */
  readonly csum: boolean;
  /** TCP over IPv4 may come as one packet of up to 64 KiB. */
  readonly tso4: boolean;
  /** TCP over IPv6, likewise. */
  readonly tso6: boolean;
}

export const NO_OFFLOADS: CardOffloads = { csum: false, tso4: false, tso6: false };

/** One network as one card sees it. The card sets the three callbacks when it is attached, and clears them by `detachNic`. */
export interface NetBackend {
  /** The user's id of the netdev. */
  readonly id: string;
  /**
   * A frame from the guest. Never blocks: a backend that cannot keep up drops. The bytes are valid only during the
   * call; whoever keeps them copies them. `header` says what is left to do on the frame (checksum, segmentation); only a
   * backend that `takesOffload` is given one.
   */
  send(frame: Uint8Array, header?: NetHeader): void;
  /** Whether `send` may be given unfinished frames. */
  readonly takesOffload: boolean;
  /** What the card takes unfinished in `onReceive`. */
  cardOffloads: () => CardOffloads;
  /**
   * The card's receiver: the backend calls it with each frame for the guest. The bytes are copied before it returns.
   * `header` goes with a frame that is unfinished in a way that `cardOffloads` allows.
   * @returns false when the card had no room after all: keep the frame (or drop it) and wait for `resume`
   */
  onReceive: (frame: Uint8Array, header?: NetHeader) => boolean;
  /** The card's answer to "is there room now?"; a backend asks before `onReceive` and holds back while it says no. */
  canReceive: () => boolean;
  /** The card has room again after `canReceive` or `onReceive` said no: deliver what was held back. */
  resume(): void;
  /** The cable's state as the card shows it to the guest. */
  readonly linkUp: boolean;
  /** The card's receiver of changes of `linkUp`. */
  onLinkChange: (up: boolean) => void;
  /** The machine stands still or runs: a machine that stands still is given no frames. Running at first. */
  setRunning(on: boolean): void;
  /** Lets go of the host. */
  close(): void;
}

/** Leaves a backend without a card: frames for the guest are dropped. */
export function detachNic(backend: NetBackend): void {
  backend.onReceive = () => true;
  backend.cardOffloads = () => NO_OFFLOADS;
  backend.canReceive = () => true;
  backend.onLinkChange = () => {};
}

/** What every backend has in common: the callbacks and the link. */
export abstract class NetBackendBase implements NetBackend {
  onReceive: (frame: Uint8Array, header?: NetHeader) => boolean = () => true;
  cardOffloads: () => CardOffloads = () => NO_OFFLOADS;
  canReceive: () => boolean = () => true;
  onLinkChange: (up: boolean) => void = () => {};
  readonly takesOffload: boolean = false;
  protected running = true;
  private up = true;

  constructor(readonly id: string) {}

  abstract send(frame: Uint8Array, header?: NetHeader): void;
  abstract resume(): void;

  get linkUp(): boolean {
    return this.up;
  }

  setRunning(on: boolean): void {
    this.running = on;
    if (on) this.resume();
  }

  close(): void {}

  /** `set_link`. */
  setLink(up: boolean): void {
    if (up === this.up) return;
    this.up = up;
    this.onLinkChange(up);
  }
}

/** How many frames a loop or a pair holds for a card that has no room; later ones are dropped. */
const MAX_HELD_FRAMES = 64;

/** Delivers to a card, holding a bounded number of frames while it has no room. */
export abstract class HoldingBackend extends NetBackendBase {
  private held: Uint8Array[] = [];
  private delivering = false;
  /** Frames that were dropped because the card had no room for long. */
  dropped = 0;

  protected get heldFrames(): number {
    return this.held.length;
  }

  /** Called when held frames have gone to the card. */
  protected onRoom(): void {}

  /** A frame for this side's card; copied. */
  protected deliver(frame: Uint8Array): void {
    if (!this.linkUp) return;
    if (this.held.length >= MAX_HELD_FRAMES) {
      this.dropped++;
      return;
    }
    this.held.push(frame.slice());
    this.resume();
  }

  override resume(): void {
    // A card that answers from within its receiver ends up here again: the outer loop goes on, so the depth stays one.
    if (this.delivering) return;
    this.delivering = true;
    const before = this.held.length;
    try {
      for (let budget = MAX_HELD_FRAMES; budget > 0 && this.held.length > 0 && this.running && this.canReceive(); budget--) {
        if (!this.onReceive(this.held[0]!)) break;
        this.held.shift();
      }
    } finally {
      this.delivering = false;
    }
    if (this.held.length < before) this.onRoom();
  }
}

/** A plug that returns every frame to its sender. */
export class LoopBackend extends HoldingBackend {
  override send(frame: Uint8Array): void {
    this.deliver(frame);
  }
}

/** No network: what the guest sends disappears. The link is down, as of a card without a cable, unless told otherwise. */
export class NullBackend extends NetBackendBase {
  constructor(id: string, linkUp = false) {
    super(id);
    this.setLink(linkUp);
  }
  override send(): void {}
  override resume(): void {}
}

/** One end of a crossed cable; see `crossedCable`. */
export class CableEnd extends HoldingBackend {
  peer: CableEnd | undefined;
  override send(frame: Uint8Array): void {
    this.peer?.receiveFromPeer(frame);
  }
  private receiveFromPeer(frame: Uint8Array): void {
    this.deliver(frame);
  }
}

/** Two cards, one cable. */
export function crossedCable(idA: string, idB: string): [CableEnd, CableEnd] {
  const a = new CableEnd(idA);
  const b = new CableEnd(idB);
  a.peer = b;
  b.peer = a;
  return [a, b];
}

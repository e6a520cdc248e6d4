/** What the protocols of a user-mode network see of it. */
import type { HostNetwork, NetAddress } from "../../host/network.js";
import type { CardOffloads } from "../backend.js";
import type { NetHeader } from "../offload.js";
import type { HostForward, UserNetConfig } from "./config.js";
import type { Flow } from "./frames.js";

export interface Stack {
  readonly config: UserNetConfig;
  readonly gatewayMac: Uint8Array;
  readonly network: HostNetwork | undefined;
  cardOffloads(): CardOffloads;
  /** Whether the card takes a frame now. */
  hasRoom(): boolean;
  /** Gives a frame to the card. @returns false when it had no room */
  deliver(frame: Uint8Array, header?: NetHeader): boolean;
  /** Sends a frame, now or when there is room; the frame is kept. */
  post(frame: Uint8Array): void;
  /** Sends a layer-4 part with its headers and checksum. */
  postPacket(flow: Flow, protocol: number, part: Uint8Array, checksumAt: number): void;
  /** Where the host reaches what the guest means by an address; undefined = not at all. */
  destination(address: Uint8Array, port: number): NetAddress | undefined;
  /** The address by which the guest knows one of the host's peers. */
  guestView(host: string): Uint8Array;
  forwardFlow(rule: HostForward, peer: string): Flow;
  /** ICMP destination unreachable for a TCP connection that could not be made. */
  hostUnreachable(flow: Flow, guestPort: number, otherPort: number): void;
  /** Calls `flushAcks` at the end of the current turn. */
  flushSoon(): void;
  wantTicks(): void;
  random32(): number;
}

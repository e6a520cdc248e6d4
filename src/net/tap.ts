/** `-netdev tap,fd=`: frames to and from an interface of the host. Source: QEMU 7.2 documentation, `-netdev tap`. */
import type { TapDevice } from "../host/network.js";
import { HoldingBackend } from "./backend.js";

/** Frames that wait for the card before the interface is held back. */
const PAUSE_AT = 32;

export class TapBackend extends HoldingBackend {
  private reading = true;

  constructor(
    id: string,
    private readonly tap: TapDevice,
  ) {
    super(id);
    tap.onFrame = (frame) => {
      this.deliver(frame);
      if (this.heldFrames >= PAUSE_AT && this.reading) {
        this.reading = false;
        tap.setReading(false);
      }
    };
    tap.setReading(true);
  }

  /** The interface's name. */
  get interfaceName(): string {
    return this.tap.name;
  }

  protected override onRoom(): void {
    if (this.reading || this.heldFrames >= PAUSE_AT / 2) return;
    this.reading = true;
    this.tap.setReading(true);
  }

  override send(frame: Uint8Array): void {
    if (this.linkUp) this.tap.write(frame);
  }

  override close(): void {
    this.tap.close();
  }
}

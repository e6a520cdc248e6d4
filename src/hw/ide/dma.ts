/** What a drive sees of its channel's bus master: a gate that the guest opens, and guest memory behind it in pieces. */

/** The bus master side of one channel. */
export interface DmaGate {
  /** Whether the guest has started it and descriptors are left. */
  readonly active: boolean;
  /** Stores bytes into guest memory. @returns how many there was room for; fewer when the descriptors end */
  toMemory(data: Uint8Array): number;
  /** Fills `out` from guest memory. @returns how many bytes there were */
  fromMemory(out: Uint8Array): number;
  /** The last transfer met something that is not memory. */
  readonly failed: boolean;
  /** Closes the gate after descriptors that were too short. */
  stop(): void;
}

/** A channel without a bus master: DMA commands wait for ever, as on such hardware. */
export const NO_DMA: DmaGate = {
  active: false,
  failed: false,
  toMemory: () => 0,
  fromMemory: () => 0,
  stop() {},
};

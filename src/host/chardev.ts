/** A character backend: a byte stream between a device and the outside. */
export interface Chardev {
  readonly id: string;
  /** Bytes from the guest. Never blocks; a backend that cannot keep up buffers up to its own limit and then drops. */
  write(data: Uint8Array): void;
  /** The frontend's receiver; bytes from outside are given to it while `canReceive` says there is room. */
  attach(frontend: ChardevFrontend | undefined): void;
  /** The frontend has room again. */
  resume(): void;
  close(): void;
  /** What `info chardev` shows, where that depends on more than the configuration: a socket's address and peer. */
  filename?(): string;
  /** Bytes written that the peer has not taken yet; 0 or absent where that is not known. */
  unread?(): number;
}

/** The device's side. */
export interface ChardevFrontend {
  /** How many bytes can be taken now. */
  canReceive(): number;
  receive(data: Uint8Array): void;
  /** Descriptors that came with bytes (SCM_RIGHTS), before those bytes; the frontend owns them. */
  receiveFds?(fds: readonly number[]): void;
  /** A peer came or went, or a break was sent. */
  event?(event: "opened" | "closed" | "break"): void;
}

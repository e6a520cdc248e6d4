/** The device's side of a PS/2 connector, and the queue every PS/2 device has. */

/** A keyboard or mouse as the 8042 sees it. */
export interface Ps2Device {
  /** A byte from the host. Replies are queued. */
  receive(byte: number): void;
  /** Whether a byte waits to be sent. */
  readonly hasData: boolean;
  /** Takes the next byte; undefined when there is none. */
  next(): number | undefined;
  /** Called when a byte has been queued. */
  onData: () => void;
}

/** Replies before data; both bounded. */
export class Ps2Queue {
  private replies: number[] = [];
  private data: number[] = [];

  /** @param limit bytes of data kept; a packet that does not fit is dropped whole */
  constructor(private readonly limit: number) {}

  get length(): number {
    return this.replies.length + this.data.length;
  }

  reply(...bytes: readonly number[]): void {
    // A host that never reads gets no more than this.
    if (this.replies.length + bytes.length <= 32) this.replies.push(...bytes);
  }

  /** @returns false when there was no room */
  push(bytes: readonly number[]): boolean {
    if (this.data.length + bytes.length > this.limit) return false;
    this.data.push(...bytes);
    return true;
  }

  shift(): number | undefined {
    return this.replies.shift() ?? this.data.shift();
  }

  get dataLength(): number {
    return this.data.length;
  }

  clear(): void {
    this.replies = [];
    this.data = [];
  }

  clearData(): void {
    this.data = [];
  }

  save(): { replies: number[]; data: number[] } {
    return { replies: [...this.replies], data: [...this.data] };
  }

  restore(s: { replies: number[]; data: number[] }): void {
    this.replies = s.replies.slice(0, 32);
    this.data = s.data.slice(0, this.limit);
  }
}

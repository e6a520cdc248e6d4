/**
 * A character backend shared by several frontends (serial port, monitor) under the keyboard's Ctrl-a commands.
 *
 * Source: QEMU manual, "Keys in the character backend multiplexer". All frontends' output goes out; input goes to the
 * one in focus.
 */
import type { Chardev, ChardevFrontend } from "../host/chardev.js";

const ESCAPE = 0x01;

/** What the mux asks of the world around it. */
export interface MuxActions {
  /** Ctrl-a x */
  quit(): void;
  /** Ctrl-a s */
  flushDisks(): void;
  /** Milliseconds for Ctrl-a t: since the mux was made. */
  nowMs(): number;
}

const HELP = [
  ["h", "print this help"],
  ["x", "exit emulator"],
  ["s", "save disk data back to the files"],
  ["t", "toggle console timestamps"],
  ["b", "send break (magic sysrq)"],
  ["c", "switch between console and monitor"],
  ["C-a", "sends C-a"],
] as const;

/** Bytes held for frontends that have no room; beyond it input is dropped. */
const BUFFER_LIMIT = 4096;

interface Port {
  frontend: ChardevFrontend | undefined;
  pending: number[];
}

/** The mux. `port()` gives one Chardev per frontend; the first opened has the focus. */
export class ChardevMux implements ChardevFrontend {
  private readonly ports: Port[] = [];
  private focus = 0;
  private escaped = false;
  private timestamps = false;
  private lineStart = true;
  private startMs = -1;

  constructor(
    private readonly backend: Chardev,
    private readonly actions: MuxActions,
  ) {
    backend.attach(this);
  }

  get id(): string {
    return this.backend.id;
  }

  /** A new frontend's end. */
  port(): Chardev {
    const index = this.ports.length;
    const port: Port = { frontend: undefined, pending: [] };
    this.ports.push(port);
    return {
      id: this.backend.id,
      write: (data) => this.output(data),
      attach: (frontend) => {
        port.frontend = frontend;
        if (frontend && index === this.focus) frontend.event?.("opened");
        this.drain(port);
      },
      resume: () => this.drain(port),
      close: () => {
        port.frontend = undefined;
      },
    };
  }

  private output(data: Uint8Array): void {
    if (!this.timestamps) {
      this.backend.write(data);
      return;
    }
    const out: number[] = [];
    for (const b of data) {
      if (this.lineStart) {
        this.lineStart = false;
        const now = this.actions.nowMs();
        if (this.startMs < 0) this.startMs = now;
        const ms = Math.floor(now - this.startMs);
        const two = (n: number) => String(n).padStart(2, "0");
        const text = `[${two(Math.floor(ms / 3600000))}:${two(Math.floor(ms / 60000) % 60)}:${two(Math.floor(ms / 1000) % 60)}.${String(ms % 1000).padStart(3, "0")}] `;
        for (const c of text) out.push(c.charCodeAt(0));
      }
      out.push(b);
      if (b === 10) this.lineStart = true;
    }
    this.backend.write(Uint8Array.from(out));
  }

  /** Always takes input, so that Ctrl-a works while the guest does not read. */
  canReceive(): number {
    const port = this.ports[this.focus];
    return port ? Math.max(1, BUFFER_LIMIT - port.pending.length) : BUFFER_LIMIT;
  }

  receive(data: Uint8Array): void {
    for (const b of data) {
      if (this.escaped) {
        this.escaped = false;
        this.command(b);
      } else if (b === ESCAPE) this.escaped = true;
      else this.input(b);
    }
    const port = this.ports[this.focus];
    if (port) this.drain(port);
  }

  event(event: "opened" | "closed" | "break"): void {
    if (event === "break") this.ports[this.focus]?.frontend?.event?.("break");
    else for (const p of this.ports) p.frontend?.event?.(event);
  }

  private input(byte: number): void {
    const port = this.ports[this.focus];
    if (port && port.pending.length < BUFFER_LIMIT) port.pending.push(byte);
  }

  private drain(port: Port): void {
    const { frontend, pending } = port;
    // Each turn hands over at least one byte, so the loop is bounded by what is pending.
    while (frontend && pending.length > 0) {
      const n = Math.min(frontend.canReceive(), pending.length);
      if (n <= 0) return;
      frontend.receive(Uint8Array.from(pending.splice(0, n)));
    }
    if (port === this.ports[this.focus]) this.backend.resume();
  }

  private command(byte: number): void {
    switch (byte) {
      case ESCAPE:
        this.input(ESCAPE);
        return;
      case 0x3f: // ?
      case 0x68: {
        const lines = HELP.map(([key, what]) => `C-a ${key.padEnd(5)}${what}\n\r`);
        this.backend.write(new TextEncoder().encode(`\n\r${lines.join("")}`));
        return;
      }
      case 0x78: // x
        this.backend.write(new TextEncoder().encode("Tandem: Terminated\n\r"));
        this.actions.quit();
        return;
      case 0x73: // s
        this.actions.flushDisks();
        return;
      case 0x74: // t
        this.timestamps = !this.timestamps;
        this.lineStart = false;
        this.startMs = -1;
        return;
      case 0x62: // b
        this.ports[this.focus]?.frontend?.event?.("break");
        return;
      case 0x63: // c
        if (this.ports.length < 2) return;
        this.ports[this.focus]?.frontend?.event?.("closed");
        this.focus = (this.focus + 1) % this.ports.length;
        this.ports[this.focus]?.frontend?.event?.("opened");
        return;
    }
  }
}

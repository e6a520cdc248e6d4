/**
 * One client of a VNC server: handshake, messages, updates.
 * Sources: RFC 6143; rfbproto: DesktopSize, ExtendedDesktopSize, Cursor, LastRect, QEMU's key and pointer extensions.
 * Not emulated: SetDesktopSize (the guest chooses its size: the answer says so), clipboards, TLS, SASL, audio.
 */
import type { CreateDeflater } from "../../host/deflate.js";
import type { TcpStream } from "../../host/network.js";
import type { Surface } from "../display.js";
import { type InputHub, POINTER_MAX } from "../input.js";
import { vncResponse } from "./des.js";
import { Compressor, ENCODERS, Encoding, part, tightParts } from "./encodings.js";
import { qcodeOfKeysym } from "./keysyms.js";
import { colourMap, FORMAT_BYTES, NATIVE_FORMAT, PixelWriter, readFormat, writeFormat } from "./pixel-format.js";
import { ClientMessage, messageLength, Pseudo, Security, ServerMessage } from "./protocol.js";
import { ClientScreen, type Rect } from "./screen.js";

/** What waits for a client that does not read: no new update is made before it has. */
const MAX_QUEUED_BYTES = 2 ** 20;
/** A client that has sent more than any handshake or message needs, without completing one. */
const MAX_INPUT_BYTES = 2 ** 20 + 2 ** 18;
/** In relative mode a client sends movement around this. */
const RELATIVE_ZERO = 0x7fff;
const VERSION_BYTES = 12;
const CHALLENGE_BYTES = 16;
/** Encodings we prefer, when a client does not say. */
const SUPPORTED = new Set<number>([...ENCODERS.keys()]);

/** What a client asks of its server. */
export interface VncHost {
  readonly name: string;
  /** A password is asked for. */
  readonly needsPassword: boolean;
  /** The password that holds now; undefined: none does, everybody is refused. */
  password(): string | undefined;
  random(out: Uint8Array): void;
  readonly createDeflater: CreateDeflater;
  readonly input: InputHub;
  /** Brings the screen up to date. */
  surface(): Surface;
  /** The client is in. `shared`: it does not want to be alone. @returns false: it must go */
  admitted(client: VncClient, shared: boolean): boolean;
  /** The client has asked for an update. */
  wantsUpdates(): void;
  gone(client: VncClient): void;
  /** A text that a user may want to see: why a client was dropped. */
  note(text: string): void;
  /** Maps a key to the guest's: QEMU's set-1 number to a qcode. */
  qcodeOfScancode(code: number): string | undefined;
}

type State = "version" | "security" | "challenge" | "init" | "ready" | "gone";

export class VncClient {
  private state: State = "version";
  private input: Uint8Array = new Uint8Array(0);
  private minor = 8;
  private challenge = new Uint8Array(CHALLENGE_BYTES);
  private writer = new PixelWriter(NATIVE_FORMAT);
  private encoding: number = Encoding.raw;
  private readonly can = new Set<number>();
  private copyRect = false;
  private readonly compressor: Compressor;
  private readonly screen = new ClientScreen();
  private wanted: Rect | undefined;
  private sending = false;
  private buttons = 0;
  private lastX = -1;
  private lastY = -1;
  private absolute: boolean | undefined;
  private readonly down = new Set<string>();
  private announceKeys = false;
  private announceSize = false;

  constructor(
    private readonly host: VncHost,
    private readonly stream: TcpStream,
    /** No password is asked of this one. */
    private readonly skipAuth: boolean,
    readonly websocket: boolean,
  ) {
    this.compressor = new Compressor(host.createDeflater);
    stream.events = {
      data: (bytes) => this.receive(bytes),
      ended: () => this.drop(),
      drained: () => this.update(),
      closed: () => this.drop(),
    };
    this.send(text("RFB 003.008\n"));
  }

  get remote() {
    return this.stream.remote;
  }

  get ready(): boolean {
    return this.state === "ready";
  }

  /** Ends it. */
  drop(why?: string): void {
    if (this.state === "gone") return;
    if (why !== undefined) this.host.note(`${this.remote.host}:${this.remote.port}: ${why}`);
    this.state = "gone";
    // Whatever it held down is let go.
    for (const key of this.down) this.host.input.key(key, false);
    this.down.clear();
    if (this.buttons !== 0) this.host.input.moveBy(0, 0, 0, 0);
    this.compressor.close();
    if (why === undefined) this.stream.destroy();
    else this.stream.end();
    this.host.gone(this);
  }

  private send(bytes: Uint8Array): void {
    if (this.state !== "gone") this.stream.write(bytes);
  }

  private receive(bytes: Uint8Array): void {
    if (this.state === "gone") return;
    if (this.input.length + bytes.length > MAX_INPUT_BYTES + bytes.length) {
      this.drop("a message of more than any has");
      return;
    }
    if (this.input.length === 0) this.input = bytes;
    else {
      const all = new Uint8Array(this.input.length + bytes.length);
      all.set(this.input);
      all.set(bytes, this.input.length);
      this.input = all;
    }
    let at = 0;
    for (;;) {
      const rest = this.input.subarray(at);
      const used = this.step(rest);
      if ((this.state as State) === "gone") return;
      if (used <= 0) break;
      at += used;
    }
    this.input = this.input.slice(at);
  }

  /** Takes one message. @returns its bytes; 0 when more are needed */
  private step(b: Uint8Array): number {
    switch (this.state) {
      case "version":
        return b.length < VERSION_BYTES ? 0 : this.version(b);
      case "security":
        if (b.length < 1) return 0;
        if (b[0] !== (this.asksPassword ? Security.vnc : Security.none)) {
          this.refuse("security type is not offered");
          return 1;
        }
        this.startSecurity();
        return 1;
      case "challenge":
        return b.length < CHALLENGE_BYTES ? 0 : this.checkResponse(b);
      case "init":
        return b.length < 1 ? 0 : this.init(b[0] !== 0);
      case "ready": {
        if (b.length === 0) return 0;
        const length = messageLength(b);
        if (length === 0) this.drop(`message ${b[0]} is not known, or too long`);
        if (length <= 0 || b.length < length) return 0;
        this.message(b.subarray(0, length));
        return length;
      }
    }
    return 0;
  }

  // Handshake (7.1 to 7.3).

  private get asksPassword(): boolean {
    return this.host.needsPassword && !this.skipAuth;
  }

  private version(b: Uint8Array): number {
    const m = /^RFB 003\.(00[3-9]|\d{3})\n$/.exec(String.fromCharCode(...b.subarray(0, VERSION_BYTES)));
    if (!m) {
      this.drop("not the RFB protocol");
      return 0;
    }
    const minor = Number(m[1]);
    // Others than 3.7 and 3.8 are 3.3 (7.1.1).
    this.minor = minor >= 8 ? 8 : minor === 7 ? 7 : 3;
    const type = this.asksPassword ? Security.vnc : Security.none;
    if (this.minor === 3) {
      this.send(Uint8Array.of(0, 0, 0, type));
      this.startSecurity();
    } else {
      this.send(Uint8Array.of(1, type));
      this.state = "security";
    }
    return VERSION_BYTES;
  }

  private startSecurity(): void {
    if (this.asksPassword) {
      this.host.random(this.challenge);
      this.send(this.challenge);
      this.state = "challenge";
      return;
    }
    if (this.minor === 8) this.send(Uint8Array.of(0, 0, 0, 0));
    this.state = "init";
  }

  private checkResponse(b: Uint8Array): number {
    const password = this.host.password();
    const expected = password === undefined ? undefined : vncResponse(password, this.challenge);
    let wrong = expected === undefined ? 1 : 0;
    for (let i = 0; i < CHALLENGE_BYTES; i++) wrong |= (expected?.[i] ?? 0) ^ b[i]!;
    if (wrong) this.refuse("Authentication failed");
    else {
      this.send(Uint8Array.of(0, 0, 0, 0));
      this.state = "init";
    }
    return CHALLENGE_BYTES;
  }

  private refuse(why: string): void {
    this.send(Uint8Array.of(0, 0, 0, 1));
    if (this.minor === 8) {
      const reason = text(why);
      const out = new Uint8Array(4 + reason.length);
      new DataView(out.buffer).setUint32(0, reason.length);
      out.set(reason, 4);
      this.send(out);
    }
    this.drop(why);
  }

  private init(shared: boolean): number {
    if (!this.host.admitted(this, shared)) {
      this.drop("another client does not share");
      return 0;
    }
    const s = this.host.surface();
    this.screen.resize(s.width, s.height);
    const name = text(this.host.name);
    const out = new Uint8Array(8 + FORMAT_BYTES + name.length);
    const v = new DataView(out.buffer);
    v.setUint16(0, s.width);
    v.setUint16(2, s.height);
    out.set(writeFormat(NATIVE_FORMAT), 4);
    v.setUint32(20, name.length);
    out.set(name, 24);
    this.send(out);
    this.state = "ready";
    return 1;
  }

  // Messages (7.5).

  private message(b: Uint8Array): void {
    const v = new DataView(b.buffer, b.byteOffset, b.length);
    switch (b[0]) {
      case ClientMessage.setPixelFormat: {
        const format = readFormat(b.subarray(4, 20));
        if (!format) {
          this.drop("pixel format is not supported");
          return;
        }
        this.writer = new PixelWriter(format);
        if (!format.trueColour) this.send(colourMap());
        this.screen.invalidate({ x: 0, y: 0, width: this.screen.width, height: this.screen.height });
        return;
      }
      case ClientMessage.setEncodings:
        this.setEncodings(Array.from({ length: (b.length - 4) / 4 }, (_, i) => v.getInt32(4 + 4 * i)));
        return;
      case ClientMessage.updateRequest: {
        const r = { x: v.getUint16(2), y: v.getUint16(4), width: v.getUint16(6), height: v.getUint16(8) };
        if (b[1] === 0) this.screen.invalidate(r);
        this.wanted = r;
        this.host.wantsUpdates();
        return;
      }
      case ClientMessage.key:
        this.key(qcodeOfKeysym(v.getUint32(4)), b[1] !== 0);
        return;
      case ClientMessage.qemu: {
        // Set 1; keys with an E0 have the high bit.
        const code = v.getUint32(8);
        const qcode = code > 0xff ? undefined : this.host.qcodeOfScancode(code & 0x80 ? 0xe000 | (code & 0x7f) : code);
        this.key(qcode ?? qcodeOfKeysym(v.getUint32(4)), v.getUint16(2) !== 0);
        return;
      }
      case ClientMessage.pointer:
        this.pointer(b[1]!, v.getUint16(2), v.getUint16(4));
        return;
      case ClientMessage.setDesktopSize:
        if (this.can.has(Pseudo.extendedDesktopSize)) this.sendRects([this.sizeRect(1, 1)]);
        return;
    }
  }

  private setEncodings(list: readonly number[]): void {
    this.can.clear();
    this.copyRect = list.includes(Encoding.copyRect);
    this.encoding = list.find((e) => SUPPORTED.has(e)) ?? Encoding.raw;
    for (const e of list) {
      this.can.add(e);
      if (e >= Pseudo.compressLevel0 && e <= Pseudo.compressLevel9) this.compressor.level = e - Pseudo.compressLevel0;
    }
    this.announceKeys = this.can.has(Pseudo.extendedKey);
    this.announceSize = this.can.has(Pseudo.extendedDesktopSize);
    this.absolute = undefined;
  }

  private key(qcode: string | undefined, down: boolean): void {
    if (qcode === undefined) return;
    if (down) this.down.add(qcode);
    else this.down.delete(qcode);
    this.host.input.key(qcode, down);
  }

  private pointer(mask: number, x: number, y: number): void {
    const { input } = this.host;
    // Bits: left, middle, right, wheel up, wheel down.
    const buttons = (mask & 1) | ((mask & 4) >> 1) | ((mask & 2) << 1);
    const pressed = (bit: number) => (mask & bit ? 1 : 0);
    const wheel = mask & ~this.wheelMask;
    const dz = (wheel & 16 ? 1 : 0) - (wheel & 8 ? 1 : 0);
    this.wheelMask = pressed(8) * 8 + pressed(16) * 16;
    this.buttons = buttons;
    const { width, height } = this.screen;
    if (input.absolute) {
      const scale = (at: number, size: number) =>
        size > 1 ? Math.min(POINTER_MAX, Math.floor((Math.min(at, size - 1) * POINTER_MAX) / (size - 1))) : POINTER_MAX / 2;
      input.moveTo(scale(x, width), scale(y, height), dz, buttons);
    } else if (this.can.has(Pseudo.pointerMotion)) input.moveBy(x - RELATIVE_ZERO, y - RELATIVE_ZERO, dz, buttons);
    else {
      if (this.lastX >= 0) input.moveBy(x - this.lastX, y - this.lastY, dz, buttons);
      this.lastX = x;
      this.lastY = y;
    }
  }

  private wheelMask = 0;

  // Updates (7.6).

  /** Sends what the client has asked for, if there is something and it keeps up. */
  update(): void {
    if (!this.wanted || this.sending || this.state !== "ready" || this.stream.queuedBytes > MAX_QUEUED_BYTES) return;
    this.sending = true;
    void this.makeUpdate()
      .catch(() => this.drop())
      .finally(() => {
        this.sending = false;
      });
  }

  private async makeUpdate(): Promise<void> {
    const s = this.host.surface();
    const rects: Uint8Array[] = [];
    if (s.width !== this.screen.width || s.height !== this.screen.height) {
      if (this.can.has(Pseudo.extendedDesktopSize) || this.can.has(Pseudo.desktopSize)) {
        this.screen.resize(s.width, s.height);
        rects.push(
          this.can.has(Pseudo.extendedDesktopSize) ? this.sizeRect(0, 0) : rect(0, 0, s.width, s.height, Pseudo.desktopSize),
        );
        this.wanted = undefined;
        this.sendRects(rects);
        return;
      }
      // A client that cannot follow sees a part, or black.
      this.screen.resize(this.screen.width, this.screen.height);
    }
    if (this.announceKeys) {
      this.announceKeys = false;
      rects.push(rect(0, 0, 0, 0, Pseudo.extendedKey));
    }
    if (this.announceSize) {
      this.announceSize = false;
      rects.push(this.sizeRect(0, 0));
    }
    if (this.can.has(Pseudo.pointerMotion) && this.absolute !== this.host.input.absolute) {
      this.absolute = this.host.input.absolute;
      rects.push(rect(this.absolute ? 1 : 0, 0, this.screen.width, this.screen.height, Pseudo.pointerMotion));
    }
    const fitted = fit(s, this.screen.width, this.screen.height);
    const rows = this.copyRect ? this.screen.scrolled(fitted) : 0;
    if (rows > 0) {
      this.screen.scroll(rows);
      const copy = new Uint8Array(12 + 4);
      copy.set(rect(0, 0, fitted.width, fitted.height - rows, Encoding.copyRect));
      new DataView(copy.buffer).setUint16(14, rows);
      rects.push(copy);
    }
    const window = this.wanted!;
    const found = this.screen.take(fitted, window);
    // The pixels of now: the machine runs on while they are being compressed.
    const tiles = found.flatMap((r) => {
      const whole = { width: r.width, height: r.height, pixels: this.screen.pixels(r) };
      const parts =
        this.encoding === Encoding.tight ? tightParts(r.width, r.height) : [{ x: 0, y: 0, width: r.width, height: r.height }];
      return parts.map((p) => ({ x: r.x + p.x, y: r.y + p.y, tile: part(whole, p.x, p.y, p.width, p.height) }));
    });
    if (tiles.length + rects.length === 0) return;
    this.wanted = undefined;
    const encode = ENCODERS.get(this.encoding)!;
    const { encoding, writer } = this;
    for (const { x, y, tile } of tiles) {
      const head = rect(x, y, tile.width, tile.height, encoding);
      const body = await encode(tile, writer, this.compressor);
      const whole = new Uint8Array(head.length + body.length);
      whole.set(head);
      whole.set(body, head.length);
      rects.push(whole);
    }
    this.sendRects(rects);
  }

  private sendRects(rects: readonly Uint8Array[]): void {
    const head = new Uint8Array(4);
    head[0] = ServerMessage.update;
    head[2] = rects.length >> 8;
    head[3] = rects.length;
    this.send(head);
    for (const r of rects) this.send(r);
  }

  /** ExtendedDesktopSize: one screen. `reason` 1: this client's request; `status` 1: prohibited. */
  private sizeRect(reason: number, status: number): Uint8Array {
    const { width, height } = this.screen;
    const out = new Uint8Array(12 + 4 + 16);
    out.set(rect(reason, status, width, height, Pseudo.extendedDesktopSize));
    out[12] = 1;
    const v = new DataView(out.buffer);
    v.setUint16(16 + 8, width);
    v.setUint16(16 + 10, height);
    return out;
  }
}

/** The header of a rectangle. */
function rect(x: number, y: number, width: number, height: number, encoding: number): Uint8Array {
  const out = new Uint8Array(12);
  const v = new DataView(out.buffer);
  v.setUint16(0, x);
  v.setUint16(2, y);
  v.setUint16(4, width);
  v.setUint16(6, height);
  v.setInt32(8, encoding);
  return out;
}

/** A surface cut or filled up to a size. */
function fit(s: Surface, width: number, height: number): Surface {
  if (s.width === width && s.height === height) return s;
  const pixels = new Uint32Array(width * height);
  for (let y = 0; y < Math.min(height, s.height); y++)
    pixels.set(s.pixels.subarray(y * s.width, y * s.width + Math.min(width, s.width)), y * width);
  return { width, height, pixels };
}

function text(t: string): Uint8Array {
  return new TextEncoder().encode(t);
}

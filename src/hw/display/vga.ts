/**
 * The VGA as a whole: its units behind the ports, the window at 0xA0000, and the picture.
 * Sources: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem; Bochs "VBE Display Interface" document.
 * Not emulated: the vertical interrupt, sense switches (a colour monitor is always found), the video enable register,
 * the border, interlace; while video RAM is mapped as plain memory, CPU reads leave the latches alone.
 */
import { assert } from "../../base/errors.js";
import type { AccessSize, IoHandler, Mapping } from "../../memory/address-space.js";
import type { RamBlock } from "../../memory/ram.js";
import type { Display, Surface } from "../../ui/display.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import { drawVbe } from "./vbe-modes.js";
import { VgaAttribute } from "./vga-attribute.js";
import { VgaCrtc } from "./vga-crtc.js";
import { VgaDac } from "./vga-dac.js";
import { Dispi, DispiEnable, VgaDispi } from "./vga-dispi.js";
import { drawGraphics, graphicWidth } from "./vga-graphic-modes.js";
import { VgaGraphics } from "./vga-graphics.js";
import { Attr, AttrMode, Crtc, CrtcMode, Gfx, Misc, Seq, SeqMemory, Status0, Status1, VgaPort } from "./vga-registers.js";
import { VgaSequencer } from "./vga-sequencer.js";
import { cellWidth, drawText, readText } from "./vga-text.js";
import { VgaWindow, WINDOW_BASE, WINDOW_SIZE } from "./vga-window.js";

/** Video RAM of `-vga std` unless `vgamem_mb` says otherwise. */
export const VGA_RAM_BYTES = 16 * 1024 * 1024;

const MIN_RAM_BYTES = 1024 * 1024;
const MAX_RAM_BYTES = 256 * 1024 * 1024;
const CLOCK_25_HZ = 25_175_000;
const CLOCK_28_HZ = 28_322_000;
/** Frame times outside these are taken for registers not yet set, and shown at 60 Hz. */
const MIN_FRAME_NS = 1e9 / 200;
const MAX_FRAME_NS = 1e9 / 20;
const DEFAULT_FRAME_NS = 1e9 / 60;
const DISPI_PORT = 0x1ce;
const PLAIN_SIZE = 0x10000;

/** Port ranges of the VGA proper: first, count. */
const PORT_RANGES: readonly (readonly [number, number])[] = [
  [0x3b4, 2],
  [0x3ba, 1],
  [0x3c0, 16],
  [0x3d4, 2],
  [0x3da, 1],
];

/** A VGA without the bus it sits on. `attach` maps its ports and the window. */
export class Vga implements Display {
  readonly seq = new VgaSequencer();
  readonly gfx = new VgaGraphics();
  readonly crtc = new VgaCrtc();
  readonly attr = new VgaAttribute();
  readonly dac = new VgaDac();
  readonly dispi: VgaDispi;
  readonly window: VgaWindow;
  /** Byte order of Bochs modes with more than 8 bits a pixel. */
  bigEndian = false;
  private misc = 0;
  private feature = 0;
  private readonly u8: Uint8Array;
  private readonly u32: Uint32Array;
  private readonly colors16 = new Uint32Array(16);
  private readonly colors256 = new Uint32Array(256);
  private surface: Surface | undefined;
  private readonly mappings: Mapping[] = [];
  /** Video RAM in place of the window, while every access would pass through unchanged. */
  private plain: { readonly mapping: Mapping; readonly offset: number } | undefined;

  /** @param vram a power of two from 1 to 256 MiB */
  constructor(
    private readonly ctx: DeviceContext,
    readonly vram: RamBlock,
  ) {
    const size = vram.sizeBytes;
    assert(size >= MIN_RAM_BYTES && size <= MAX_RAM_BYTES && (size & (size - 1)) === 0, `video RAM of ${size} bytes`);
    this.u8 = ctx.ram.bytes(vram);
    this.u32 = new Uint32Array(this.u8.buffer, this.u8.byteOffset, size >> 2);
    this.dispi = new VgaDispi(size);
    this.window = new VgaWindow(this.u8, this.u32, this.seq, this.gfx, this.dispi, (offset, length) =>
      ctx.memory.onRamWrite(vram.hostOffset + offset, length),
    );
    this.reset();
  }

  /** Maps the ports (3B4 to 3DA, 1CE to 1D1) and the window at priority 1. */
  attach(): void {
    const ports: IoHandler = {
      name: "vga",
      maxAccess: 1,
      read: (port) => this.readPort(port),
      write: (port, _size, value) => this.writePort(port, value),
    };
    const dispi: IoHandler = {
      name: "vbe",
      read: (offset, size) => this.readDispiPort(offset, size),
      write: (offset, size, value) => this.writeDispiPort(offset, size, value),
    };
    const { io, memory } = this.ctx;
    for (const [base, size] of PORT_RANGES) this.mappings.push(io.mapIo(base, size, ports, { offset: base }));
    this.mappings.push(io.mapIo(DISPI_PORT, 4, dispi));
    this.mappings.push(memory.mapIo(WINDOW_BASE, WINDOW_SIZE, this.window, { priority: 1 }));
  }

  /** Unmaps what `attach` mapped. */
  detach(): void {
    this.setPlain(-1);
    for (const m of this.mappings.splice(0)) {
      this.ctx.io.unmap(m);
      this.ctx.memory.unmap(m);
    }
  }

  reset(): void {
    for (const unit of [this.seq, this.gfx, this.crtc, this.attr, this.dac, this.dispi]) unit.reset();
    this.misc = 0;
    this.feature = 0;
    this.bigEndian = false;
    this.setPlain(-1);
  }

  // Ports

  /** One byte from a port 0x3b4 to 0x3da. */
  readPort(port: number): number {
    if (this.hidden(port)) return 0xff;
    switch (port) {
      case VgaPort.attributeIndex:
        return this.attr.expectData ? 0 : this.attr.index;
      case VgaPort.attributeData:
        return this.attr.readData();
      case VgaPort.miscWrite:
        return Status0.switchSense;
      case VgaPort.enable:
        return 1;
      case VgaPort.sequencerIndex:
        return this.seq.index;
      case VgaPort.sequencerData:
        return this.seq.read();
      case VgaPort.dacMask:
        return this.dac.mask;
      case VgaPort.dacReadIndex:
        return this.dac.state;
      case VgaPort.dacWriteIndex:
        return this.dac.writeIndex;
      case VgaPort.dacData:
        return this.dac.readData();
      case VgaPort.featureRead:
        return this.feature;
      case VgaPort.miscRead:
        return this.misc;
      case VgaPort.graphicsIndex:
        return this.gfx.index;
      case VgaPort.graphicsData:
        return this.gfx.read();
      case VgaPort.crtcIndexMono:
      case VgaPort.crtcIndexColor:
        return this.crtc.index;
      case VgaPort.crtcDataMono:
      case VgaPort.crtcDataColor:
        return this.crtc.read();
      case VgaPort.statusMono:
      case VgaPort.statusColor:
        this.attr.expectData = false;
        return this.status1();
      default:
        return 0xff;
    }
  }

  writePort(port: number, value: number): void {
    if (this.hidden(port)) return;
    value &= 0xff;
    switch (port) {
      case VgaPort.attributeIndex:
        this.attr.write(value);
        break;
      case VgaPort.miscWrite:
        this.misc = value & ~0x10;
        break;
      case VgaPort.sequencerIndex:
        this.seq.index = value & 7;
        break;
      case VgaPort.sequencerData:
        this.seq.write(value);
        this.checkPlain();
        break;
      case VgaPort.dacMask:
        this.dac.mask = value;
        break;
      case VgaPort.dacReadIndex:
        this.dac.setReadIndex(value);
        break;
      case VgaPort.dacWriteIndex:
        this.dac.setWriteIndex(value);
        break;
      case VgaPort.dacData:
        this.dac.writeData(value);
        break;
      case VgaPort.graphicsIndex:
        this.gfx.index = value & 15;
        break;
      case VgaPort.graphicsData:
        this.gfx.write(value);
        this.checkPlain();
        break;
      case VgaPort.crtcIndexMono:
      case VgaPort.crtcIndexColor:
        this.crtc.index = value;
        break;
      case VgaPort.crtcDataMono:
      case VgaPort.crtcDataColor:
        this.crtc.write(value);
        break;
      case VgaPort.statusMono:
      case VgaPort.statusColor:
        this.feature = value & 0x10;
        break;
    }
  }

  /** Whether the monochrome/colour switch takes a port away. */
  private hidden(port: number): boolean {
    const mono = port >= 0x3b0 && port <= 0x3bf;
    const color = port >= 0x3d0 && port <= 0x3df;
    return (this.misc & Misc.colorPorts) !== 0 ? mono : color;
  }

  private readDispiPort(offset: number, size: AccessSize): number {
    if (size !== 2) return size === 1 ? 0xff : 0xffffffff;
    return offset === 0 ? this.dispi.index : this.dispi.read();
  }

  private writeDispiPort(offset: number, size: AccessSize, value: number): void {
    if (size !== 2) return this.ctx.trace.guestError("vga", `write of ${size} bytes to a VBE port`);
    if (offset === 0) this.dispi.index = value;
    else this.writeDispi(value);
  }

  /** Writes the Bochs register that `dispi.index` selects. */
  writeDispi(value: number): void {
    const event = this.dispi.write(value);
    if (event === "none") return;
    if (this.dispi.index === Dispi.enable) this.dac.eightBit = (value & DispiEnable.dac8) !== 0;
    if (event === "mode-set") this.enterVbe(value);
    this.checkPlain();
  }

  /** A Bochs mode was enabled: clears the screen and sets the VGA units as a BIOS would for it. */
  private enterVbe(enable: number): void {
    const { dispi, gfx, seq, crtc } = this;
    if (!(enable & DispiEnable.noClear)) {
      const length = Math.min(dispi.height * dispi.lineBytes, this.u8.length);
      this.u8.fill(0, 0, length);
      this.ctx.memory.onRamWrite(this.vram.hostOffset, length);
    }
    const g = gfx.regs;
    g[Gfx.misc] = 0x05;
    g[Gfx.mode] = dispi.bpp === 4 ? 0 : 0x40;
    gfx.update();
    const s = seq.regs;
    s[Seq.memoryMode] = SeqMemory.extended | SeqMemory.sequential | (dispi.bpp === 4 ? 0 : SeqMemory.chain4);
    s[Seq.mapMask] = 15;
    const c = crtc.regs;
    const lines = Math.min(dispi.height, 1024) - 1;
    c[Crtc.mode] = c[Crtc.mode]! | CrtcMode.rowScan0 | CrtcMode.rowScan1;
    c[Crtc.offset] = dispi.lineBytes >> 3;
    c[Crtc.horizontalDisplayEnd] = (dispi.width >> 3) - 1;
    c[Crtc.displayEnd] = lines;
    c[Crtc.overflow] = (c[Crtc.overflow]! & ~0x42) | ((lines >> 7) & 2) | ((lines >> 3) & 0x40) | 0x10;
    c[Crtc.maxScanLine] = 0x40;
    c[Crtc.lineCompare] = 0xff;
    this.attr.regs[Attr.mode] = this.attr.regs[Attr.mode]! | AttrMode.graphics;
  }

  // Time

  /** Nanoseconds of a line and of a frame as the CRTC is set. */
  private frameTime(): { lineNs: number; frameNs: number } {
    const t = this.crtc.timing();
    const clockHz = (this.misc & Misc.clockSelect) === Misc.clock28 ? CLOCK_28_HZ : CLOCK_25_HZ;
    const dots = t.charsPerLine * this.seq.charDots * (this.seq.halfDotClock ? 2 : 1);
    let lineNs = (dots * 1e9) / clockHz;
    let frameNs = lineNs * t.linesPerFrame;
    if (this.dispi.enabled || frameNs < MIN_FRAME_NS || frameNs > MAX_FRAME_NS) {
      frameNs = DEFAULT_FRAME_NS;
      lineNs = frameNs / t.linesPerFrame;
    }
    return { lineNs, frameNs };
  }

  private status1(): number {
    const t = this.crtc.timing();
    const { lineNs, frameNs } = this.frameTime();
    const inFrame = this.ctx.clock.nowNs() % frameNs;
    const line = Math.floor(inFrame / lineNs);
    const char = ((inFrame % lineNs) / lineNs) * t.charsPerLine;
    // A retrace that would never come is put at the frame's end, so that a guest that waits for it goes on.
    const fits = t.retraceStart + t.retraceLines <= t.linesPerFrame;
    const start = fits ? t.retraceStart : t.linesPerFrame - 2;
    const end = fits ? start + t.retraceLines : t.linesPerFrame;
    if (line >= start && line < end) return Status1.verticalRetrace | Status1.displayDisabled;
    return line >= t.linesShown || char >= t.charsShown ? Status1.displayDisabled : 0;
  }

  // Plain mapping

  /** Takes video RAM out of the window's place as soon as that no longer shows the same. */
  private checkPlain(): void {
    if (this.plain && this.window.plainOffset() !== this.plain.offset) this.setPlain(-1);
  }

  /** Mapping it happens once a frame at most (from `refresh`), so that a guest cannot force many changes of the memory map. */
  private setPlain(offset: number): void {
    if (this.plain?.offset === offset || (!this.plain && offset < 0)) return;
    const { memory } = this.ctx;
    memory.batch(() => {
      if (this.plain) memory.unmap(this.plain.mapping);
      this.plain = undefined;
      if (offset < 0) return;
      const region = { kind: "ram", block: this.vram, offset } as const;
      this.plain = { offset, mapping: memory.map(WINDOW_BASE, PLAIN_SIZE, region, { priority: 1, name: "vga.plain" }) };
    });
  }

  // Picture

  private get blank(): boolean {
    return !this.attr.paletteOn || (!this.dispi.enabled && this.seq.screenOff);
  }

  refresh(): Surface {
    if (this.mappings.length > 0) {
      const offset = this.window.plainOffset();
      this.setPlain(offset + PLAIN_SIZE <= this.vram.sizeBytes ? offset : -1);
    }
    if (this.blank) {
      const s = this.surface ?? this.sized(720, 400);
      s.pixels.fill(0);
      return s;
    }
    for (let i = 0; i < 256; i++) this.colors256[i] = this.dac.color(i);
    for (let i = 0; i < 16; i++) this.colors16[i] = this.dac.color(this.attr.dacIndex(i));
    if (this.dispi.enabled) return this.drawVbe();
    const { u8, u32, crtc, seq, gfx, attr } = this;
    if (gfx.graphics) {
      const units = { u32, crtc, seq, gfx, attr };
      const s = this.sized(graphicWidth(units), crtc.lines);
      drawGraphics(units, this.colors16, this.colors256, s.pixels);
      return s;
    }
    const s = this.sized(crtc.columns * cellWidth(seq), crtc.lines);
    const frame = Math.floor(this.ctx.clock.nowNs() / this.frameTime().frameNs);
    drawText({ u8, crtc, seq, attr }, this.colors16, frame, s.pixels);
    return s;
  }

  private drawVbe(): Surface {
    const { width, height, bpp, startBytes: start, lineBytes } = this.dispi;
    const s = this.sized(width, height);
    const picture = { width, height, bpp, start, lineBytes, bigEndian: this.bigEndian };
    drawVbe(picture, this.u8, this.colors16, this.colors256, s.pixels);
    return s;
  }

  private sized(width: number, height: number): Surface {
    if (!this.surface || this.surface.width !== width || this.surface.height !== height)
      this.surface = { width, height, pixels: new Uint32Array(width * height) };
    return this.surface;
  }

  text(): string[] | undefined {
    if (this.dispi.enabled || this.gfx.graphics || this.blank) return undefined;
    return readText({ u8: this.u8, crtc: this.crtc, seq: this.seq, attr: this.attr });
  }

  // Snapshot; video RAM is saved with the rest of RAM.

  save(): DeviceState {
    const { seq, gfx, crtc, attr, dac, dispi } = this;
    return {
      misc: this.misc,
      feature: this.feature,
      bigEndian: this.bigEndian,
      seq: { index: seq.index, regs: seq.regs.slice() },
      gfx: { index: gfx.index, regs: gfx.regs.slice(), latch: gfx.latch },
      crtc: { index: crtc.index, regs: crtc.regs.slice() },
      attr: { index: attr.index, regs: attr.regs.slice(), expectData: attr.expectData },
      dac: {
        palette: dac.palette.slice(),
        pending: dac.savePending(),
        mask: dac.mask,
        readIndex: dac.readIndex,
        writeIndex: dac.writeIndex,
        component: dac.component,
        state: dac.state,
        eightBit: dac.eightBit,
      },
      dispi: { index: dispi.index, regs: Array.from(dispi.regs) },
    };
  }

  restore(state: DeviceState): void {
    const unit = (name: string) => state[name] as DeviceState;
    const fill = (to: Uint8Array, from: unknown) => {
      to.fill(0);
      to.set((from as Uint8Array).subarray(0, to.length));
    };
    this.misc = (state.misc as number) & 0xff;
    this.feature = (state.feature as number) & 0xff;
    this.bigEndian = state.bigEndian === true;
    for (const name of ["seq", "gfx", "crtc", "attr"] as const) {
      this[name].index = unit(name).index as number;
      fill(this[name].regs, unit(name).regs);
    }
    this.gfx.latch = unit("gfx").latch as number;
    this.gfx.update();
    this.attr.expectData = unit("attr").expectData === true;
    const { dac, dispi } = this;
    const d = unit("dac");
    fill(dac.palette, d.palette);
    dac.restorePending(d.pending as Uint8Array);
    dac.mask = (d.mask as number) & 0xff;
    dac.readIndex = (d.readIndex as number) & 0xff;
    dac.writeIndex = (d.writeIndex as number) & 0xff;
    dac.component = Math.min(2, d.component as number);
    dac.state = (d.state as number) & 3;
    dac.eightBit = d.eightBit === true;
    dispi.index = unit("dispi").index as number;
    dispi.regs.set((unit("dispi").regs as number[]).slice(0, dispi.regs.length));
    dispi.fit();
    this.setPlain(-1);
  }
}

/** Byte-level emission of WebAssembly modules and function bodies. */
import { VALTYPE, type ValType, wasmOp } from "./opcodes.js";

const scratch = new DataView(new ArrayBuffer(8));

/** A growing byte buffer with LEB128 (WebAssembly Core §5.2.2). */
export class ByteWriter {
  bytes = new Uint8Array(1024);
  length = 0;

  private grow(n: number): void {
    if (this.length + n <= this.bytes.length) return;
    const next = new Uint8Array(Math.max(this.bytes.length * 2, this.length + n));
    next.set(this.bytes.subarray(0, this.length));
    this.bytes = next;
  }

  u8(v: number): void {
    if (this.length === this.bytes.length) this.grow(1);
    this.bytes[this.length++] = v;
  }

  raw(v: ArrayLike<number>): void {
    this.grow(v.length);
    this.bytes.set(v, this.length);
    this.length += v.length;
  }

  /** Unsigned 32-bit. */
  u32(v: number): void {
    v = v >>> 0;
    while (v > 127) {
      this.u8((v & 127) | 128);
      v >>>= 7;
    }
    this.u8(v);
  }

  /** Signed 32-bit. */
  s32(v: number): void {
    v |= 0;
    for (;;) {
      const b = v & 127;
      v >>= 7;
      if ((v === 0 && !(b & 64)) || (v === -1 && b & 64)) {
        this.u8(b);
        return;
      }
      this.u8(b | 128);
    }
  }

  /** Signed 64-bit from two halves. */
  s64(lo: number, hi: number): void {
    lo |= 0;
    hi |= 0;
    for (;;) {
      const b = lo & 127;
      lo = (lo >>> 7) | (hi << 25);
      hi >>= 7;
      if ((lo === 0 && hi === 0 && !(b & 64)) || (lo === -1 && hi === -1 && b & 64)) {
        this.u8(b);
        return;
      }
      this.u8(b | 128);
    }
  }

  name(s: string): void {
    this.u32(s.length);
    for (let i = 0; i < s.length; i++) this.u8(s.charCodeAt(i));
  }

  slice(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }
}

/** Which way a conditional branch goes; `at` is its byte offset in the function body, locals included. */
export interface BranchHint {
  readonly at: number;
  readonly likely: boolean;
}

/** A finished code entry and its branch hints. */
export interface FunctionBody {
  readonly code: Uint8Array;
  readonly hints: readonly BranchHint[];
}

/** A function body under construction: stack code by mnemonic, locals by type, labels by depth. */
export class FunctionWriter extends ByteWriter {
  private readonly localTypes: ValType[] = [];
  /** Open control frames; a label's branch depth is `depth - label`. */
  depth = 0;
  private readonly hints: BranchHint[] = [];

  constructor(readonly params: readonly ValType[]) {
    super();
  }

  /** Declares a local; returns its index. */
  local(type: ValType): number {
    this.localTypes.push(type);
    return this.params.length + this.localTypes.length - 1;
  }

  op(name: string, imm = 0): void {
    const o = wasmOp(name);
    this.raw(o.bytes);
    if (o.imm === "mem") {
      this.u8(0); // alignment hint: none
      this.u32(imm);
    } else if (o.imm === "lane") this.u8(imm);
  }

  i32(v: number): void {
    this.u8(0x41);
    this.s32(v);
  }

  i64(lo: number, hi: number): void {
    this.u8(0x42);
    this.s64(lo, hi);
  }

  /** i64.const of a safe integer. */
  i64n(v: number): void {
    this.i64(v | 0, Math.floor(v / 2 ** 32) | 0);
  }

  f64(v: number): void {
    this.u8(0x44);
    scratch.setFloat64(0, v, true);
    for (let i = 0; i < 8; i++) this.u8(scratch.getUint8(i));
  }

  f32(v: number): void {
    this.u8(0x43);
    scratch.setFloat32(0, v, true);
    for (let i = 0; i < 4; i++) this.u8(scratch.getUint8(i));
  }

  v128(bytes: ArrayLike<number>): void {
    this.raw([0xfd, 12]);
    this.raw(bytes);
  }

  shuffle(lanes: ArrayLike<number>): void {
    this.raw([0xfd, 13]);
    this.raw(lanes);
  }

  get(i: number): void {
    this.u8(0x20);
    this.u32(i);
  }

  set(i: number): void {
    this.u8(0x21);
    this.u32(i);
  }

  tee(i: number): void {
    this.u8(0x22);
    this.u32(i);
  }

  /** Opens a block; the returned label is for `br`. */
  block(type: ValType = "none"): number {
    this.u8(0x02);
    this.u8(VALTYPE[type]);
    return ++this.depth;
  }

  loop(type: ValType = "none"): number {
    this.u8(0x03);
    this.u8(VALTYPE[type]);
    return ++this.depth;
  }

  /** `likely`: a hint for the host's compiler about the branch taken. */
  if(type: ValType = "none", likely?: boolean): number {
    if (likely !== undefined) this.hints.push({ at: this.length, likely });
    this.u8(0x04);
    this.u8(VALTYPE[type]);
    return ++this.depth;
  }

  else(): void {
    this.u8(0x05);
  }

  end(): void {
    this.u8(0x0b);
    this.depth--;
  }

  br(label: number): void {
    this.u8(0x0c);
    this.u32(this.depth - label);
  }

  brIf(label: number, likely?: boolean): void {
    if (likely !== undefined) this.hints.push({ at: this.length, likely });
    this.u8(0x0d);
    this.u32(this.depth - label);
  }

  /** Labels by case, then the default. */
  brTable(labels: readonly number[], other: number): void {
    this.u8(0x0e);
    this.u32(labels.length);
    for (const l of labels) this.u32(this.depth - l);
    this.u32(this.depth - other);
  }

  return(): void {
    this.u8(0x0f);
  }

  call(f: number): void {
    this.u8(0x10);
    this.u32(f);
  }

  callIndirect(type: number): void {
    this.u8(0x11);
    this.u32(type);
    this.u8(0);
  }

  returnCallIndirect(type: number): void {
    this.u8(0x13);
    this.u32(type);
    this.u8(0);
  }

  returnCall(f: number): void {
    this.u8(0x12);
    this.u32(f);
  }

  drop(): void {
    this.u8(0x1a);
  }

  select(): void {
    this.u8(0x1b);
  }

  unreachable(): void {
    this.u8(0x00);
  }

  /** Lets `write` emit code in front of what has been emitted since `at`. */
  insert(at: number, write: () => void): void {
    const tail = this.bytes.slice(at, this.length);
    this.length = at;
    write();
    const shift = this.length - at;
    for (const [i, h] of this.hints.entries()) if (h.at >= at) this.hints[i] = { at: h.at + shift, likely: h.likely };
    this.raw(tail);
  }

  /** The code entry: locals, body, end. */
  finish(): Uint8Array {
    return this.finishBody().code;
  }

  finishBody(): FunctionBody {
    const head = new ByteWriter();
    const runs: [ValType, number][] = [];
    for (const t of this.localTypes) {
      const last = runs[runs.length - 1];
      if (last && last[0] === t) last[1]++;
      else runs.push([t, 1]);
    }
    head.u32(runs.length);
    for (const [t, n] of runs) {
      head.u32(n);
      head.u8(VALTYPE[t]);
    }
    const out = new ByteWriter();
    out.u32(head.length + this.length + 1);
    out.raw(head.bytes.subarray(0, head.length));
    out.raw(this.bytes.subarray(0, this.length));
    out.u8(0x0b);
    return { code: out.slice(), hints: this.hints.map((h) => ({ at: h.at + head.length, likely: h.likely })) };
  }
}

/** A function type. */
export interface FuncType {
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
}

/** A module: imported memory, table and functions; own functions, exported by name. */
export class ModuleWriter {
  private readonly types: FuncType[] = [];
  private readonly imports: { module: string; name: string; type: number }[] = [];
  private readonly functions: {
    type: number;
    code: Uint8Array;
    hints: readonly BranchHint[];
    export?: string | undefined;
    debugName?: string | undefined;
  }[] = [];

  constructor(
    private readonly memoryPages: number,
    private readonly sharedMemory: boolean,
    /** Whether the shared function table is imported too. */
    private readonly table = true,
  ) {}

  type(t: FuncType): number {
    const key = JSON.stringify(t);
    const i = this.types.findIndex((x) => JSON.stringify(x) === key);
    return i >= 0 ? i : this.types.push(t) - 1;
  }

  /** All imports come before the first `add`. */
  import(module: string, name: string, t: FuncType): number {
    this.imports.push({ module, name, type: this.type(t) });
    return this.imports.length - 1;
  }

  /** Index of the first own function. */
  get importCount(): number {
    return this.imports.length;
  }

  /** `debugName` goes to the name section: what profilers and stack traces show. */
  add(t: FuncType, body: Uint8Array | FunctionBody, exportName?: string, debugName = exportName): number {
    const { code, hints } = body instanceof Uint8Array ? { code: body, hints: [] } : body;
    this.functions.push({ type: this.type(t), code, hints, export: exportName, debugName });
    return this.imports.length + this.functions.length - 1;
  }

  finish(): Uint8Array {
    const out = new ByteWriter();
    out.raw([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, fill: (w: ByteWriter) => void) => {
      const w = new ByteWriter();
      fill(w);
      out.u8(id);
      out.u32(w.length);
      out.raw(w.bytes.subarray(0, w.length));
    };
    section(1, (w) => {
      w.u32(this.types.length);
      for (const t of this.types) {
        w.u8(0x60);
        w.u32(t.params.length);
        for (const p of t.params) w.u8(VALTYPE[p]);
        w.u32(t.results.length);
        for (const p of t.results) w.u8(VALTYPE[p]);
      }
    });
    section(2, (w) => {
      w.u32(this.imports.length + (this.table ? 2 : 1));
      for (const i of this.imports) {
        w.name(i.module);
        w.name(i.name);
        w.u8(0);
        w.u32(i.type);
      }
      w.name("env");
      w.name("memory");
      w.u8(2);
      w.u8(this.sharedMemory ? 3 : 1);
      w.u32(this.memoryPages);
      w.u32(this.memoryPages);
      if (!this.table) return;
      w.name("env");
      w.name("table");
      w.u8(1);
      w.u8(0x70);
      w.u8(0);
      w.u32(1);
    });
    section(3, (w) => {
      w.u32(this.functions.length);
      for (const f of this.functions) w.u32(f.type);
    });
    const exported = this.functions.map((f, i) => ({ name: f.export, i })).filter((x) => x.name !== undefined);
    section(7, (w) => {
      w.u32(exported.length);
      for (const x of exported) {
        w.name(x.name!);
        w.u8(0);
        w.u32(this.imports.length + x.i);
      }
    });
    const hinted = this.functions.map((f, i) => ({ hints: f.hints, i })).filter((x) => x.hints.length > 0);
    // WebAssembly Branch Hinting: function index, then offset, size 1 and 0 (unlikely) or 1 for each hint.
    if (hinted.length > 0)
      section(0, (w) => {
        w.name("metadata.code.branch_hint");
        w.u32(hinted.length);
        for (const { hints, i } of hinted) {
          w.u32(this.imports.length + i);
          w.u32(hints.length);
          for (const h of hints) {
            w.u32(h.at);
            w.u32(1);
            w.u8(h.likely ? 1 : 0);
          }
        }
      });
    section(10, (w) => {
      w.u32(this.functions.length);
      for (const f of this.functions) w.raw(f.code);
    });
    const named = this.functions.map((f, i) => ({ name: f.debugName, i })).filter((x) => x.name !== undefined);
    if (named.length > 0)
      section(0, (w) => {
        w.name("name");
        const functions = new ByteWriter();
        functions.u32(named.length);
        for (const x of named) {
          functions.u32(this.imports.length + x.i);
          functions.name(x.name!);
        }
        w.u8(1);
        w.u32(functions.length);
        w.raw(functions.bytes.subarray(0, functions.length));
      });
    return out.slice();
  }
}

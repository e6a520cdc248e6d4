/** x, xp, print, i, o, memsave, pmemsave. */
import { VmError } from "../../base/errors.js";
import type { AccessSize, AddressSpace } from "../../memory/address-space.js";
import type { Args, Command, CommandContext, Format } from "./command.js";

/** The most that a memsave writes at a time. */
const SAVE_LIMIT = 2 ** 30;
const LINE_BYTES = 16;

function systemMemory({ target }: CommandContext): AddressSpace {
  return target.inspect.addressSpaces()[0] ?? missing("memory");
}

function ports({ target }: CommandContext): AddressSpace {
  return target.inspect.addressSpaces()[1] ?? missing("port");
}

function missing(what: string): never {
  throw new VmError("monitor/bad-command", `the machine has no ${what} address space`);
}

/** One value in QEMU's layout. */
export function formatValue(value: bigint, format: string, size: number): string {
  const bits = size * 8;
  const v = BigInt.asUintN(bits, value);
  switch (format) {
    case "o": {
      const s = v.toString(8);
      return (v === 0n ? s : `0${s}`).padStart(Math.ceil(bits / 3));
    }
    case "u":
      return v.toString().padStart(Math.floor((bits * 10 + 32) / 33));
    case "d":
      return BigInt.asIntN(bits, v)
        .toString()
        .padStart(Math.floor((bits * 10 + 32) / 33));
    case "c":
      return quoteChar(Number(v & 0xffn));
    default:
      return `0x${v.toString(16).padStart(bits / 4, "0")}`;
  }
}

function quoteChar(c: number): string {
  const named: { readonly [code: number]: string } = { 10: "\\n", 13: "\\r", 39: "\\'", 92: "\\\\" };
  const text = named[c] ?? (c >= 32 && c <= 126 ? String.fromCharCode(c) : `\\x${c.toString(16).padStart(2, "0")}`);
  return `'${text}'`;
}

function little(bytes: Uint8Array, at: number, size: number): bigint {
  let v = 0n;
  for (let i = size - 1; i >= 0; i--) v = (v << 8n) | BigInt(bytes[at + i]!);
  return v;
}

function readMemory(context: CommandContext, address: bigint, out: Uint8Array, physical: boolean): boolean {
  if (!physical) return context.target.inspect.readVirtual(context.session.cpu, address, out);
  if (address > BigInt(Number.MAX_SAFE_INTEGER)) return false;
  systemMemory(context).readBytes(Number(address), out);
  return true;
}

function dump(context: CommandContext, f: Format, address: bigint, physical: boolean): void {
  const { target, session } = context;
  if (f.format === "i") {
    if (!target.inspect.disassemble) throw new VmError("monitor/bad-command", "no disassembler for this target");
    const insns = target.inspect.disassemble(session.cpu, address, f.count, physical);
    for (const i of insns) {
      const bytes = Array.from(i.bytes, (b) => b.toString(16).padStart(2, "0")).join(" ");
      context.print(`0x${i.address.toString(16).padStart(8, "0")}:  ${bytes.padEnd(24)} ${i.text}\n`);
    }
    return;
  }
  const perLine = f.format === "c" ? 8 : LINE_BYTES / f.size;
  const buffer = new Uint8Array(perLine * f.size);
  for (let done = 0; done < f.count; done += perLine) {
    const n = Math.min(perLine, f.count - done);
    const at = BigInt.asUintN(64, address + BigInt(done * f.size));
    context.print(`${at.toString(16).padStart(16, "0")}:`);
    const bytes = buffer.subarray(0, n * f.size);
    if (!readMemory(context, at, bytes, physical)) {
      context.print(" Cannot access memory\n");
      return;
    }
    for (let i = 0; i < n; i++) context.print(` ${formatValue(little(bytes, i * f.size, f.size), f.format, f.size)}`);
    context.print("\n");
  }
}

function examine(physical: boolean) {
  return (context: CommandContext, args: Args) => {
    const format = args.format();
    const address = args.number();
    args.end();
    dump(context, format, address, physical);
  };
}

function save(physical: boolean) {
  return async (context: CommandContext, args: Args) => {
    const address = args.number();
    const size = args.integer(1, SAVE_LIMIT, "size");
    const path = args.word();
    args.end();
    const bytes = new Uint8Array(size);
    if (!readMemory(context, address, bytes, physical))
      throw new VmError("monitor/bad-command", `Invalid addr 0x${address.toString(16).padStart(16, "0")}/size ${size} specified`);
    await context.target.writeFile(path, bytes);
  };
}

function accessSize(size: number): AccessSize {
  return size === 1 || size === 2 ? size : 4;
}

export const MEMORY_COMMANDS: readonly Command[] = [
  { names: ["x"], args: "/fmt addr", help: "virtual memory dump starting at 'addr'", format: true, run: examine(false) },
  { names: ["xp"], args: "/fmt addr", help: "physical memory dump starting at 'addr'", format: true, run: examine(true) },
  {
    names: ["print", "p"],
    args: "/fmt expr",
    help: "print expression value (use $reg for CPU register access)",
    format: true,
    run: (context, args) => {
      const f = args.format();
      const value = args.number();
      args.end();
      // The whole value, whatever the size; leading zeroes are no news.
      const text = f.format === "x" || f.format === "i" ? `0x${value.toString(16)}` : formatValue(value, f.format, 8).trimStart();
      context.print(`${text}\n`);
    },
  },
  {
    names: ["i"],
    args: "/fmt addr [index]",
    help: "I/O port read",
    format: true,
    run: (context, args) => {
      const f = args.format();
      const port = args.integer(0, 0xffff, "port");
      const space = ports(context);
      if (!args.atEnd) space.write(port, 1, args.integer(0, 255, "index"));
      args.end();
      const size = accessSize(f.size);
      const value = space.read(port, size);
      const letter = size === 1 ? "b" : size === 2 ? "w" : "l";
      context.print(`port${letter}[0x${port.toString(16).padStart(4, "0")}] = 0x${value.toString(16).padStart(size * 2, "0")}\n`);
    },
  },
  {
    names: ["o"],
    args: "/fmt addr value",
    help: "I/O port write",
    format: true,
    run: (context, args) => {
      const f = args.format();
      const port = args.integer(0, 0xffff, "port");
      const value = args.integer(0, 0xffffffff, "value");
      args.end();
      ports(context).write(port, accessSize(f.size), value);
    },
  },
  {
    names: ["memsave"],
    args: "addr size file",
    help: "save to disk virtual memory dump starting at 'addr' of size 'size'",
    run: save(false),
  },
  {
    names: ["pmemsave"],
    args: "addr size file",
    help: "save to disk physical memory dump starting at 'addr' of size 'size'",
    run: save(true),
  },
];

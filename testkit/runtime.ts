/**
 * The compiled x86 runtime for tests: builds it when sources are newer, instantiates it with inert host imports, and gives
 * typed access to one vCPU's state.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { ENGINE_BYTES, ENVS } from "../src/accel/tcg/map.js";
import { EXC_ERROR, EXC_VECTOR } from "../src/target/x86/layout.js";
// @ts-expect-error: a script without declarations
import { buildRuntime } from "../tools/build-runtime.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** What a helper throws through the host when it raises a guest exception. */
export class GuestFault extends Error {
  constructor(
    readonly vector: number,
    readonly errorCode: number,
  ) {
    super(`guest exception ${vector}, error ${errorCode}`);
  }
}

export type Helper = (a: bigint, b: bigint, imm: number) => bigint;
// biome-ignore lint/suspicious/noExplicitAny: host imports have many shapes
export type HostImports = Record<string, (...args: any[]) => unknown>;

export interface TestRuntime {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  /** Base of the vCPU state. */
  readonly env: number;
  /** A free page of memory, 64 KiB below guest RAM. */
  readonly scratch: number;
  // biome-ignore lint/suspicious/noExplicitAny: exports have many signatures
  readonly exports: Record<string, any>;
  helper(name: string): Helper;
  get32(offset: number): number;
  set32(offset: number, value: number): void;
  get64(offset: number): bigint;
  set64(offset: number, value: bigint): void;
}

/**
 * @param entry file in src/target/x86/runtime that is compiled: "index" for all of it
 * @param ramBytes guest RAM after the engine's part of the memory
 */
export function loadRuntime(entry = "index", host: HostImports = {}, ramBytes = 0): TestRuntime {
  const out = path.join(root, `dist/runtime/${entry === "index" ? "x86" : entry}.wasm`);
  buildRuntime(`src/target/x86/runtime/${entry}.ts`, out, { ifNewer: true });
  const memory = new WebAssembly.Memory({ initial: (ENGINE_BYTES + ramBytes) >>> 16, maximum: 65536, shared: true });
  const view = new DataView(memory.buffer);
  const env = ENVS;
  const imports: HostImports = {
    unwind() {
      throw new GuestFault(view.getInt32(env + EXC_VECTOR, true), view.getUint32(env + EXC_ERROR, true));
    },
    ioRead: () => 0xffffffff,
    ioWrite() {},
    physRead: () => 0xffffffff,
    physWrite() {},
    codeWrite() {},
    tsc: () => 0,
    msrRead: () => 0,
    msrWrite: () => 1,
    tprRead: () => 0,
    tprWrite() {},
    cpuid() {},
    random() {},
    acknowledge: () => -1,
    notify() {},
    ...host,
  };
  const module = new WebAssembly.Module(readFileSync(out));
  const instance = new WebAssembly.Instance(module, {
    env: { memory, abort() {} },
    host: imports as never,
  });
  const exports = instance.exports as Record<string, unknown>;
  (exports.setEnv as ((base: number) => void) | undefined)?.(env);
  return {
    memory,
    view,
    env,
    scratch: ENGINE_BYTES - 0x10000,
    exports,
    helper(name) {
      const found = exports[name];
      if (typeof found !== "function") throw new Error(`the runtime exports no ${name}`);
      return (a, b, imm) => BigInt.asUintN(64, (found as Helper)(a, b, imm));
    },
    get32: (offset) => view.getUint32(env + offset, true),
    set32: (offset, value) => view.setUint32(env + offset, value, true),
    get64: (offset) => view.getBigUint64(env + offset, true),
    set64: (offset, value) => view.setBigUint64(env + offset, value, true),
  };
}

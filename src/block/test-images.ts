/** Images in a folder of a test's own, and QEMU's tools on them. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { nodeCodecs } from "../host/node/codecs.js";
import { nodeFiles } from "../host/node/files.js";
import { FileNode } from "./file-node.js";
import { Qcow2Image, type Qcow2Options } from "./qcow2/image.js";

export const QEMU_IMG = { package: "qemu-utils", path: "/usr/bin/qemu-img" };
export const NBDKIT = { package: "nbdkit", path: "/usr/bin/nbdkit" };

/** A folder that is gone with the process. */
export function imageFolder(): (name: string) => string {
  const folder = mkdtempSync(path.join(tmpdir(), "tandem-block-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return (name) => path.join(folder, name);
}

export function qemuImg(...args: string[]): string {
  return execFileSync("qemu-img", args, { encoding: "utf8" });
}

/** Throws with what qemu-img said unless an image has no error and, unless `leaks`, no leak. */
export function checkedByQemu(file: string, leaks = false): void {
  const { status, stdout, stderr } = spawnSync("qemu-img", ["check", file], { encoding: "utf8" });
  if (status !== 0 && !(leaks && status === 3))
    throw new Error(`qemu-img check ${file}: ${status}\n${stdout}\n${stderr.slice(0, 3000)}`);
}

export function comparedByQemu(a: string, formatA: string, b: string, formatB: string): void {
  const { status, stdout, stderr } = spawnSync("qemu-img", ["compare", "-f", formatA, "-F", formatB, a, b], { encoding: "utf8" });
  if (status !== 0) throw new Error(`qemu-img compare ${a} ${b}: ${stdout}${stderr}`);
}

/** Runs qemu-io's commands on an image. */
export function qemuIo(file: string, commands: readonly string[], format = "qcow2"): void {
  const out = execFileSync("qemu-io", ["-f", format, file], { input: `${commands.join("\n")}\n`, encoding: "utf8" });
  if (/failed|error/i.test(out)) throw new Error(`qemu-io: ${out.slice(0, 2000)}`);
}

export async function openFile(file: string, readOnly = false): Promise<FileNode> {
  return new FileNode(await nodeFiles.open(file, { readOnly, lock: true }), file);
}

export async function openQcow2(file: string, options: Partial<Qcow2Options> = {}): Promise<Qcow2Image> {
  const node = await openFile(file, options.readOnly ?? false);
  try {
    return await Qcow2Image.open(node, { readOnly: false, codecs: nodeCodecs, ...options });
  } catch (e) {
    await node.close();
    throw e;
  }
}

/** A generator of numbers below n, the same for the same seed. */
export function randomFrom(seed: number): (n: number) => number {
  let s = seed >>> 0;
  return (n) => {
    s = (Math.imul(s ^ (s >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    const x = Math.imul(s ^ (s >>> 12), 0x297a2d39) >>> 0;
    return Math.floor((x / 2 ** 32) * n);
  };
}

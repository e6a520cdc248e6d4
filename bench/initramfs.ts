/** Builds the benchmark guest's initramfs: two static programs in a newc archive (Linux: buffer-format.rst). */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const GUEST = fileURLToPath(new URL("./guest/", import.meta.url));
const OUT = fileURLToPath(new URL("../dist/bench/", import.meta.url));

export type Arch = "amd64" | "i386";
const COMPILERS: Record<Arch, readonly (readonly string[])[]> = {
  amd64: [["x86_64-linux-gnu-gcc"], ["gcc"]],
  i386: [["i686-linux-gnu-gcc"], ["gcc", "-m32"]],
};

interface Entry {
  readonly name: string;
  readonly mode: number;
  readonly data: Uint8Array;
  /** Device number, for nodes. */
  readonly device?: readonly [major: number, minor: number];
}

/** A newc archive with its trailer. */
export function newc(entries: readonly Entry[]): Buffer {
  const parts: Buffer[] = [];
  const pad = (n: number) => Buffer.alloc((4 - (n % 4)) % 4);
  const put = (e: Entry, inode: number) => {
    const name = Buffer.from(`${e.name}\0`);
    const fields = [inode, e.mode, 0, 0, 1, 0, e.data.length, 0, 0, e.device?.[0] ?? 0, e.device?.[1] ?? 0, name.length, 0];
    const head = Buffer.from(`070701${fields.map((f) => f.toString(16).padStart(8, "0")).join("")}`);
    parts.push(head, name, pad(head.length + name.length), Buffer.from(e.data), pad(e.data.length));
  };
  for (const [i, e] of entries.entries()) put(e, i + 1);
  put({ name: "TRAILER!!!", mode: 0, data: new Uint8Array() }, 0);
  return Buffer.concat(parts);
}

/**
 * Compiles and packs the guest. The archive is kept until a source changes.
 * @returns its path
 * @throws Error without a compiler for static programs of that architecture
 */
export function buildInitramfs(arch: Arch): string {
  mkdirSync(OUT, { recursive: true });
  const archive = path.join(OUT, `bench-${arch}.cpio.gz`);
  const stamp = path.join(OUT, `bench-${arch}.stamp`);
  const sources = ["bench", "init"].map((n) => readFileSync(path.join(GUEST, `${n}.c`), "utf8")).join("\0");
  try {
    if (readFileSync(stamp, "utf8") === sources) return archive;
  } catch {
    // Not built yet.
  }
  const folder = mkdtempSync(path.join(tmpdir(), "tandem-bench-"));
  try {
    const failures: string[] = [];
    for (const [compiler, ...flags] of COMPILERS[arch]) {
      try {
        for (const name of ["bench", "init"])
          execFileSync(
            compiler!,
            [...flags, "-O2", "-static", "-o", path.join(folder, name), path.join(GUEST, `${name}.c`), "-lm"],
            { stdio: "pipe" },
          );
      } catch (error) {
        failures.push(`${compiler}: ${(error as Error).message.split("\n")[0]}`);
        continue;
      }
      const none = new Uint8Array();
      const program = (name: string) => ({ name, mode: 0o100755, data: readFileSync(path.join(folder, name)) });
      const entries: Entry[] = [
        { name: "dev", mode: 0o40755, data: none },
        { name: "dev/console", mode: 0o20600, data: none, device: [5, 1] },
        program("init"),
        program("bench"),
      ];
      writeFileSync(archive, gzipSync(newc(entries)));
      writeFileSync(stamp, sources);
      return archive;
    }
    throw new Error(`no compiler for static ${arch} programs (${failures.join("; ")})`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

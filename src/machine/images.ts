/** Whole files the user named: kernels, initrds, firmware. */
import { VmError } from "../base/errors.js";
import type { HostFiles } from "../host/file.js";
import type { Host } from "../host/host.js";

/** The largest firmware image there is any use for. */
const FIRMWARE_LIMIT = 64 * 2 ** 20;

/**
 * Reads a file; its size is checked before anything is allocated.
 * @throws VmError "image/not-found" | "image/too-large" | "block/io", the message led by option and path
 */
export async function readWhole(files: HostFiles, option: string, path: string, limitBytes: number): Promise<Uint8Array> {
  const origin = `${option} ${path}`;
  try {
    const file = await files.open(path, { readOnly: true, lock: false });
    try {
      if (file.sizeBytes > limitBytes)
        throw new VmError("image/too-large", `${file.sizeBytes} bytes are too large: at most ${limitBytes} fit`);
      const bytes = new Uint8Array(file.sizeBytes);
      const n = await file.read(0, bytes);
      return n === bytes.length ? bytes : bytes.slice(0, n);
    } finally {
      await file.close();
    }
  } catch (cause) {
    const code = cause instanceof VmError ? (cause.code === "block/not-found" ? "image/not-found" : cause.code) : "block/io";
    throw new VmError(code, `${origin}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** A firmware image: a file, else a name in the `-L` folders, else a built-in one. @throws VmError "image/not-found" */
export async function readFirmware(host: Host, folders: readonly string[], option: string, name: string): Promise<Uint8Array> {
  const candidates = option === "" ? folders.map((f) => `${f}/${name}`) : [name, ...folders.map((f) => `${f}/${name}`)];
  for (const path of candidates) {
    try {
      return await readWhole(host.files, option, path, FIRMWARE_LIMIT);
    } catch (e) {
      if (!(e instanceof VmError && e.code === "image/not-found")) throw e;
    }
  }
  try {
    if (!name.includes("/")) return await host.readBuiltIn(`firmware/${name}`);
  } catch {
    // The message below says it in the user's words.
  }
  throw new VmError("image/not-found", `${option === "" ? "firmware" : option} ${name}: Could not find the firmware image`);
}

/** Files of our own package, wherever it lies. */
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { VmError } from "../../base/errors.js";

/** The package's folder: the nearest above this file with our package.json (the sources and `dist` differ in depth). */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const manifest = join(folder, "package.json");
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).name === "tandem-vm") return folder;
    const up = dirname(folder);
    if (up === folder) throw new Error("the package's folder was not found");
    folder = up;
  }
}

/** @throws VmError "image/not-found" */
export async function readBuiltIn(path: string): Promise<Uint8Array> {
  try {
    return await readFile(join(packageRoot(), path));
  } catch (cause) {
    throw new VmError("image/not-found", `${path} is missing from this installation`, { cause });
  }
}

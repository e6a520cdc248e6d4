/**
 * The host inside a browser: what `Host` asks for, in a dedicated Worker (a page works too, but a busy guest makes it
 * unresponsive). Shared memory needs a page that is cross-origin isolated.
 * Not provided: stdio, file, pipe and socket character backends; a page uses "stream" ones.
 */
import { VmError } from "../../base/errors.js";
import type { Chardev } from "../chardev.js";
import type { HostClock } from "../clock.js";
import type { ChardevSpec, Host } from "../host.js";
import { BlobFiles } from "./files.js";
import { BrowserScheduler } from "./scheduler.js";

/** Web Crypto fills at most this many bytes a call. */
const RANDOM_CHUNK = 65536;
const NS_PER_MS = 1e6;

class BrowserClock implements HostClock {
  monotonicNs(): number {
    return performance.now() * NS_PER_MS;
  }

  wallMs(): number {
    return Date.now();
  }
}

export class BrowserHost implements Host {
  readonly clock = new BrowserClock();
  readonly scheduler = new BrowserScheduler();
  readonly files = new BlobFiles();
  readonly arch = "wasm";

  /**
   * @param baseUrl where `firmware/`, `guests/` and the rest of what comes with Tandem are served, with a slash at its end
   * @param onNote receives the lines that a process would print to stderr
   */
  constructor(
    private readonly baseUrl: string,
    private readonly onNote: (line: string) => void = (line) => console.warn(line),
  ) {}

  note(line: string): void {
    this.onNote(line);
  }

  async readBuiltIn(path: string): Promise<Uint8Array> {
    if (path.split("/").includes("..")) throw new VmError("image/not-found", `'${path}' is not a built-in file`);
    let response: Response;
    try {
      response = await fetch(new URL(path, this.baseUrl));
    } catch (cause) {
      throw new VmError("image/not-found", `built-in file '${path}' could not be fetched`, { cause });
    }
    if (!response.ok) throw new VmError("image/not-found", `built-in file '${path}': the server answered ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  }

  randomBytes(out: Uint8Array): void {
    // Web Crypto does not write to shared memory.
    const chunk = new Uint8Array(Math.min(RANDOM_CHUNK, out.length));
    for (let at = 0; at < out.length; at += chunk.length) {
      crypto.getRandomValues(chunk);
      out.set(chunk.subarray(0, Math.min(chunk.length, out.length - at)), at);
    }
  }

  localOffsetMinutes(wallMs: number): number {
    return -new Date(wallMs).getTimezoneOffset();
  }

  async openChardev(spec: ChardevSpec): Promise<Chardev> {
    throw new VmError("chardev/unknown", `chardev '${spec.id}': a browser has no '${spec.backend}' backend`);
  }
}

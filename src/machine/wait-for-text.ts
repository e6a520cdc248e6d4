/** Waits for a text in the guest's output. */
import { VmError } from "../base/errors.js";
import type { StreamChardev } from "./memory-chardevs.js";

/** Output kept for the comparison and the result; of more, the end is kept. */
const LIMIT = 2 ** 20;

/** @throws VmError "aborted" | "closed" */
export function waitForText(
  source: StreamChardev,
  text: string | RegExp,
  ended: Promise<unknown>,
  signal?: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const decoder = new TextDecoder();
    let seen = "";
    const finish = (settle: () => void) => {
      source.taps.delete(tap);
      signal?.removeEventListener("abort", onAbort);
      settle();
    };
    const tap = (data: Uint8Array) => {
      seen = (seen + decoder.decode(data, { stream: true })).slice(-LIMIT);
      if (typeof text === "string" ? seen.includes(text) : text.test(seen)) finish(() => resolve(seen));
    };
    const onAbort = () =>
      finish(() => reject(new VmError("aborted", `gave up waiting for ${text}; the last output was: ${seen.slice(-200)}`)));
    if (signal?.aborted) {
      onAbort();
      return;
    }
    source.taps.add(tap);
    signal?.addEventListener("abort", onAbort, { once: true });
    void ended.then(() => finish(() => reject(new VmError("closed", `the machine ended before ${text} came`))));
  });
}

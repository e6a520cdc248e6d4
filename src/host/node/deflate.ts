/** zlib streams by `node:zlib`, off the machine's thread. */
import { constants, createDeflate } from "node:zlib";
import type { Deflater } from "../deflate.js";

export function nodeDeflater(level: number): Deflater {
  const stream = createDeflate({ level });
  let pieces: Buffer[] = [];
  stream.on("data", (piece: Buffer) => pieces.push(piece));
  stream.on("error", () => {});
  let last: Promise<unknown> = Promise.resolve();
  const one = (data: Uint8Array) =>
    new Promise<Uint8Array>((resolve, reject) => {
      if (stream.destroyed) {
        reject(new Error("closed"));
        return;
      }
      // The output waits in `pieces`: nothing reads the stream but the listener above.
      stream.write(Buffer.from(data));
      stream.flush(constants.Z_SYNC_FLUSH, () => {
        const all = Buffer.concat(pieces);
        pieces = [];
        resolve(all);
      });
    });
  return {
    deflate(data) {
      const next = last.then(() => one(data));
      last = next.catch(() => {});
      return next;
    },
    close: () => stream.destroy(),
  };
}

/** Compression through `node:zlib`, on the thread pool; Zstandard by our own decoder, since Node 20 has none. */
import { constants, deflateRaw, inflateRaw } from "node:zlib";
import { VmError } from "../../base/errors.js";
import { unpackZstd } from "../../firmware/loaders/zstd.js";
import type { HostCodecs } from "../codec.js";

const WINDOW_BITS = 12;

export const nodeCodecs: HostCodecs = {
  inflate: (data, sizeBytes) =>
    new Promise((resolve) =>
      inflateRaw(data, { maxOutputLength: sizeBytes, finishFlush: constants.Z_SYNC_FLUSH }, (error, out) =>
        resolve(error || out.length !== sizeBytes ? undefined : out),
      ),
    ),
  deflate: (data) =>
    new Promise((resolve, reject) =>
      deflateRaw(data, { windowBits: WINDOW_BITS }, (error, out) =>
        error ? reject(new VmError("block/io", error.message, { cause: error })) : resolve(out),
      ),
    ),
  unzstd: async (data, sizeBytes) => unpackZstd(data, sizeBytes, sizeBytes),
};

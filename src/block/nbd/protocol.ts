/** Numbers of the NBD protocol. Source: doc/proto.md of the NBD project (fixed newstyle, structured replies). */

export const Magic = {
  nbd: 0x4e42444d41474943n,
  option: 0x49484156454f5054n,
  optionReply: 0x0003e889045565a9n,
  request: 0x25609513,
  simpleReply: 0x67446698,
  structuredReply: 0x668e33ef,
} as const;
export const HandshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const;
export const Option = { exportName: 1, abort: 2, go: 7, structuredReply: 8, setMetaContext: 10 } as const;
export const OptionReply = { ack: 1, info: 3, metaContext: 4, error: 0x80000000, unsupported: 0x80000001 } as const;
export const OPTION_ERRORS: { readonly [code: number]: string } = {
  0x80000001: "the server does not know the option",
  0x80000002: "the server's policy forbids it",
  0x80000003: "the server calls the request invalid",
  0x80000004: "the server's platform does not support it",
  0x80000005: "the server requires TLS",
  0x80000006: "no such export",
  0x80000007: "the server is shutting down",
  0x80000008: "the server demands a block size to be agreed on",
};
export const Info = { export: 0, blockSize: 3 } as const;
export const ExportFlag = { hasFlags: 1, readOnly: 2, flush: 4, fua: 8, trim: 32, writeZeroes: 64 } as const;
export const Command = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6, blockStatus: 7 } as const;
export const CommandFlag = { fua: 1, noHole: 2, dontFragment: 4, oneExtent: 8 } as const;
export const Chunk = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  error: 0x8001,
  errorOffset: 0x8002,
  errorBit: 0x8000,
} as const;
export const CHUNK_DONE = 1;
/** base:allocation */
export const Allocation = { hole: 1, zero: 2 } as const;

export const ERRNO: { readonly [n: number]: string } = {
  1: "EPERM",
  5: "EIO",
  12: "ENOMEM",
  22: "EINVAL",
  28: "ENOSPC",
  75: "EOVERFLOW",
  95: "ENOTSUP",
  108: "ESHUTDOWN",
};

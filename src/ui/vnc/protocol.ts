/** Numbers of the RFB protocol. Sources: RFC 6143; the community's rfbproto (extensions by number). */

export const Security = { none: 1, vnc: 2 } as const;

/** Messages of a client. */
export const ClientMessage = {
  setPixelFormat: 0,
  setEncodings: 2,
  updateRequest: 3,
  key: 4,
  pointer: 5,
  cutText: 6,
  setDesktopSize: 251,
  qemu: 255,
} as const;
export const QemuMessage = { extendedKey: 0 } as const;

export const ServerMessage = { update: 0 } as const;

/** Encodings that are no encodings: what a client can do. */
export const Pseudo = {
  desktopSize: -223,
  lastRect: -224,
  cursor: -239,
  compressLevel0: -256,
  compressLevel9: -247,
  pointerMotion: -257,
  extendedKey: -258,
  extendedDesktopSize: -308,
} as const;

/** Longest text a client may paste; it is thrown away, since no guest asks for it. */
export const MAX_CUT_TEXT = 2 ** 20;
/** Screens of a client's SetDesktopSize. */
export const MAX_SCREENS = 16;

/** Lengths of a client's message, as far as its first bytes tell. @returns -1: more is needed to know; 0: no such message */
export function messageLength(b: Uint8Array): number {
  switch (b[0]) {
    case ClientMessage.setPixelFormat:
      return 20;
    case ClientMessage.setEncodings:
      return b.length < 4 ? -1 : 4 + 4 * ((b[2]! << 8) | b[3]!);
    case ClientMessage.updateRequest:
      return 10;
    case ClientMessage.key:
      return 8;
    case ClientMessage.pointer:
      return 6;
    case ClientMessage.cutText: {
      if (b.length < 8) return -1;
      // A negative length is that of the extended clipboard.
      const n = Math.abs((b[4]! << 24) | (b[5]! << 16) | (b[6]! << 8) | b[7]!);
      return n > MAX_CUT_TEXT ? 0 : 8 + n;
    }
    case ClientMessage.setDesktopSize:
      return b.length < 7 ? -1 : b[6]! > MAX_SCREENS ? 0 : 8 + 16 * b[6]!;
    case ClientMessage.qemu:
      return b.length < 2 ? -1 : b[1] === QemuMessage.extendedKey ? 12 : 0;
    default:
      return 0;
  }
}

/**
 * Tap devices by a descriptor that somebody else has opened, as libvirt does. Linux; needs the FFI library.
 * Source: Linux Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h.
 */
import { readSync, writeSync } from "node:fs";
import { VmError } from "../../base/errors.js";
import type { TapDevice } from "../network.js";
import { Errno } from "../syscalls.js";
import { nodeSyscalls } from "./syscalls.js";

const TUNGETIFF = 0x800454d2;
const TUNGETVNETHDRSZ = 0x800454d7;
const FIONBIO = 0x5421;
const IFREQ_BYTES = 40;
const NAME_BYTES = 16;
const IFF_TAP = 2;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const MAX_FRAME = 65536 + 64;
/** Frames taken before the event loop has its turn. */
const BURST = 64;

/** @throws VmError "net/io" | "host/no-ffi" */
export async function openTap(fd: number): Promise<TapDevice> {
  const calls = await nodeSyscalls();
  const request = new Uint8Array(IFREQ_BYTES);
  const r = calls.ioctlData(fd, TUNGETIFF, request);
  if (r < 0)
    throw new VmError(
      "net/io",
      `fd=${fd} is ${r === -Errno.ENOTTY || r === -Errno.EINVAL ? "no tap device" : `not usable: errno ${-r}`}`,
    );
  const flags = request[NAME_BYTES]! | (request[NAME_BYTES + 1]! << 8);
  if (!(flags & IFF_TAP) || !(flags & IFF_NO_PI)) throw new VmError("net/io", `fd=${fd}: a tap device with IFF_NO_PI is needed`);
  const name = Buffer.from(request.subarray(0, NAME_BYTES)).toString("latin1").replace(/\0.*$/s, "");
  let header = 0;
  if (flags & IFF_VNET_HDR) {
    const size = new Uint8Array(4);
    header = calls.ioctlData(fd, TUNGETVNETHDRSZ, size) < 0 ? 10 : size[0]!;
  }
  calls.ioctlData(fd, FIONBIO, Uint8Array.of(1, 0, 0, 0));

  const buffer = Buffer.alloc(MAX_FRAME);
  let watch: { close(): void } | undefined;
  let closed = false;
  const device: TapDevice = {
    name,
    onFrame: () => {},
    write(frame) {
      if (closed) return;
      try {
        writeSync(fd, header > 0 ? Buffer.concat([Buffer.alloc(header), frame]) : frame);
      } catch {
        // A full queue or an interface that is down: the frame is lost, as on a cable.
      }
    },
    setReading(on) {
      if (on === (watch !== undefined) || closed) return;
      if (on) watch = calls.watch([fd], take);
      else {
        watch?.close();
        watch = undefined;
      }
    },
    close() {
      if (closed) return;
      device.setReading(false);
      closed = true;
      calls.close(fd);
    },
  };
  const take = () => {
    for (let n = 0; n < BURST && watch && !closed; n++) {
      let length: number;
      try {
        length = readSync(fd, buffer, 0, buffer.length, null);
      } catch {
        return;
      }
      if (length > header) device.onFrame(buffer.subarray(header, length));
    }
  };
  return device;
}

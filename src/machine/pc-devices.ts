/** `-device`: what a user adds to the pc machine. */
import { VmError } from "../base/errors.js";
import type { DeviceType } from "../hw/core/device-type.js";
import { IsaDebugExit, isaDebugExitType } from "../hw/misc/isa-debug-exit.js";
import { parsePciAddress } from "../hw/pci/bus.js";
import { VirtioBlk, virtioBlkType } from "../hw/virtio/blk.js";
import { VirtioPci } from "../hw/virtio/pci.js";
import { VirtioRng, virtioRngType } from "../hw/virtio/rng.js";
import type { BoardParts } from "./board.js";
import type { DeviceConfig } from "./config.js";
import { findDeviceType, type PropertyValues, readProperties } from "./device-properties.js";
import type { PcBoard } from "./pc.js";

interface Maker {
  readonly type: DeviceType;
  make(board: PcBoard, parts: BoardParts, props: PropertyValues, config: DeviceConfig): void;
}

const num = (v: unknown): number | undefined => (v === undefined ? undefined : Number(v));

function attachVirtio(
  board: PcBoard,
  type: DeviceType,
  device: ConstructorParameters<typeof VirtioPci>[2],
  props: PropertyValues,
  config: DeviceConfig,
): void {
  const pci = new VirtioPci(board.ctx, type.name, device, {
    id: config.id,
    vectors: num(props.vectors),
    sendMsi: (address, data) => board.processors.bus.deliverMsi(address, data),
    disableLegacy: props["disable-legacy"] as "on" | "off" | "auto" | undefined,
    disableModern: props["disable-modern"] as boolean | undefined,
  });
  const addr = props.addr === undefined ? undefined : parsePciAddress(String(props.addr));
  board.attachPci(pci, addr, props.multifunction === true);
}

const MAKERS: readonly Maker[] = [
  {
    type: virtioBlkType,
    make(board, parts, props, config) {
      if (props.drive === undefined) throw new VmError("device/invalid-property", `${config.origin}: drive property not set`);
      const drive = parts.drive(String(props.drive));
      board.addDrive(drive);
      attachVirtio(board, virtioBlkType, new VirtioBlk(board.ctx, { drive }), props, config);
    },
  },
  {
    type: virtioRngType,
    make(board, parts, props, config) {
      attachVirtio(board, virtioRngType, new VirtioRng(board.ctx, { fill: (b) => parts.host.randomBytes(b) }), props, config);
    },
  },
  {
    type: isaDebugExitType,
    make(board, _parts, props) {
      const d = new IsaDebugExit({
        iobase: num(props.iobase) ?? 0x501,
        iosize: num(props.iosize) ?? 2,
        onExit: (status) => board.request({ kind: "exit", status }),
      });
      d.map(board.io);
    },
  },
];

/** Types that `-device` makes on this board. */
export const PC_DEVICE_TYPES: readonly DeviceType[] = MAKERS.map((m) => m.type);

/** Adds everything `-device` names. @throws VmError naming the option */
export function addUserDevices(board: PcBoard, parts: BoardParts): void {
  for (const config of board.config.devices) {
    const type = findDeviceType(PC_DEVICE_TYPES, config.driver);
    const maker = MAKERS.find((m) => m.type === type);
    if (!maker) throw new VmError("device/unknown", `${config.origin}: '${config.driver}' is not a valid device model name`);
    maker.make(board, parts, readProperties(maker.type, config, board.config.globals), config);
  }
}

/** `-device virtio-*`: makers of the virtio devices on PCI, and of ports on a virtio serial bus. */
import { VmError } from "../base/errors.js";
import { BootPath } from "../firmware/boot-order.js";
import { ScsiCdrom } from "../hw/scsi/cdrom.js";
import { ScsiDisk, scsiCdType, scsiHdType } from "../hw/scsi/disk.js";
import { balloonStatNames, VirtioBalloon, virtioBalloonType } from "../hw/virtio/balloon.js";
import { VirtioBlk, virtioBlkType } from "../hw/virtio/blk.js";
import { VirtioSerial, virtconsoleType, virtioSerialType, virtserialportType } from "../hw/virtio/console.js";
import type { VirtioDevice } from "../hw/virtio/device.js";
import { VirtioNet, virtioNetType } from "../hw/virtio/net.js";
import { VirtioPci } from "../hw/virtio/pci.js";
import { VirtioRng, virtioRngType } from "../hw/virtio/rng.js";
import { VirtioScsi, virtioScsiType } from "../hw/virtio/scsi.js";
import type { PropertyValues } from "./device-properties.js";
import { type DeviceSite, num, type SiteBoard, textOf, within } from "./pc-device-site.js";
import type { Maker, Order } from "./pc-devices.js";
import type { QomProperty } from "./qom.js";

const common = (p: PropertyValues) => ({ indirectDesc: p.indirect_desc === true, eventIdx: p.event_idx === true });

/** Puts a virtio device into a PCI slot. @returns the function's devfn */
function attach(site: DeviceSite<SiteBoard>, { type, props, config }: Order, device: VirtioDevice): number {
  const { board } = site;
  const pci = new VirtioPci(board.pciCtx, type.name, device, {
    id: config.id,
    vectors: num(props.vectors),
    sendMsi: (address, data) => board.sendMsi(address, data),
    disableLegacy: props["disable-legacy"] as "on" | "off" | "auto" | undefined,
    disableModern: props["disable-modern"] === true,
  });
  return site.attachPci(pci, props);
}

/** A block size property: a power of two from 512 to 32 KiB. */
function blockSize(name: string, value: number): number {
  if (value < 512 || value > 32768 || 2 ** Math.round(Math.log2(value)) !== value)
    throw new VmError("device/invalid-property", `${name}=${value}: a power of two from 512 to 32768`);
  return value;
}

/** The entries of a queue: a power of two. */
function queueSize(name: string, value: number): number {
  if (value < 2 || value > 1024 || 2 ** Math.round(Math.log2(value)) !== value)
    throw new VmError("device/invalid-property", `${name}=${value}: a power of two from 2 to 1024`);
  return value;
}

const ONE_QUEUE = "the device has one request queue: num-queues=1";

/** What a guest has not told. */
const UNKNOWN_STAT = 2n ** 64n - 1n;

/** The guest's statistics, and how often it is asked for them. */
function balloonProperties(board: SiteBoard, device: VirtioBalloon, initialSeconds: number): QomProperty[] {
  let seconds = initialSeconds;
  return [
    {
      name: "guest-stats",
      type: "guest statistics",
      get: () => {
        const { updatedNs, values } = device.stats();
        const ageMs = (board.ctx.clock.nowNs() - updatedNs) / 1e6;
        return {
          stats: Object.fromEntries(balloonStatNames.map((n) => [n, values.get(n) ?? UNKNOWN_STAT])),
          "last-update": values.size === 0 ? 0 : Math.floor((board.ctx.wallMs() - ageMs) / 1000),
        };
      },
    },
    {
      name: "guest-stats-polling-interval",
      type: "int",
      get: () => seconds,
      set: (value) => {
        if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 0xffffffff)
          throw new VmError("device/invalid-property", "Parameter 'guest-stats-polling-interval' expects a number of seconds");
        seconds = value;
        device.setStatsInterval(seconds);
      },
    },
  ];
}

/** Who makes what. */
export const VIRTIO_MAKERS: readonly Maker<SiteBoard>[] = [
  {
    type: virtioBlkType,
    make(site, order) {
      const p = order.props;
      const drive = site.drive(p.drive);
      if (!drive) throw new VmError("device/invalid-property", "drive property not set");
      if (!drive.backend) throw new VmError("device/invalid-property", "Device needs media, but drive is empty");
      if (num(p["num-queues"]) !== 1) throw new VmError("device/invalid-property", ONE_QUEUE);
      const device = new VirtioBlk(site.board.ctx, {
        drive,
        serial: textOf("serial", p.serial, 20),
        logicalBlockSize: blockSize("logical_block_size", num(p.logical_block_size)!),
        physicalBlockSize: blockSize("physical_block_size", num(p.physical_block_size)!),
        minIoSize: num(p.min_io_size),
        optIoSize: num(p.opt_io_size),
        discardGranularity: num(p.discard_granularity),
        cyls: num(p.cyls),
        heads: num(p.heads),
        secs: num(p.secs),
        queueSize: queueSize("queue-size", num(p["queue-size"])!),
        configWce: p["config-wce"] === true,
        ...(p["write-cache"] === "auto" ? {} : { writeCache: p["write-cache"] === "on" }),
        discard: p.discard === true,
        writeZeroes: p["write-zeroes"] === true,
        ...common(p),
      });
      const devfn = attach(site, order, device);
      site.bootIndex(p.bootindex, BootPath.virtioBlk(devfn >> 3, devfn & 7));
    },
  },
  {
    type: virtioNetType,
    make(site, order) {
      const p = order.props;
      const device = new VirtioNet(site.board.ctx, {
        mac: site.mac(p.mac),
        netdev: site.netdev(p.netdev, order),
        hostMtu: num(p.host_mtu),
        rxQueueSize: queueSize("rx_queue_size", num(p.rx_queue_size)!),
        txQueueSize: queueSize("tx_queue_size", num(p.tx_queue_size)!),
        csum: p.csum === true,
        hostTso4: p.host_tso4 === true,
        hostTso6: p.host_tso6 === true,
        hostEcn: p.host_ecn === true,
        hostUfo: p.host_ufo === true,
        guestCsum: p.guest_csum === true,
        guestTso4: p.guest_tso4 === true,
        guestTso6: p.guest_tso6 === true,
        ctrlGuestOffloads: p.ctrl_guest_offloads === true,
        mrgRxbuf: p.mrg_rxbuf === true,
        status: p.status === true,
        ctrlVq: p.ctrl_vq === true,
        ...common(p),
      });
      const devfn = attach(site, order, device);
      site.bootIndex(p.bootindex, BootPath.network(devfn >> 3, devfn & 7));
    },
  },
  {
    type: virtioRngType,
    make(site, order) {
      const { props } = order;
      if (props.rng !== undefined) checkRng(site, String(props.rng));
      const device = new VirtioRng(site.board.ctx, {
        fill: (bytes) => site.parts.host.randomBytes(bytes),
        maxBytes: num(props["max-bytes"]),
        periodMs: within("period", num(props.period)!, 1, 2 ** 32 - 1),
        ...common(props),
      });
      attach(site, order, device);
    },
  },
  {
    type: virtioBalloonType,
    make(site, order) {
      const { props } = order;
      const { board } = site;
      if (board.balloon) throw new VmError("device/invalid-property", "Only one balloon device is supported");
      const device = new VirtioBalloon(board.ctx, {
        ramBytes: board.config.memoryBytes,
        onChange: (actualBytes) => board.onEvent?.({ type: "balloon", actualBytes }),
        deflateOnOom: props["deflate-on-oom"] === true,
        freePageReporting: props["free-page-reporting"] === true,
        ...common(props),
      });
      device.setStatsInterval(num(props["guest-stats-polling-interval"])!);
      attach(site, order, device);
      board.balloon = device;
      return balloonProperties(board, device, num(props["guest-stats-polling-interval"])!);
    },
  },
  {
    type: virtioSerialType,
    make(site, order) {
      const { props, config } = order;
      const device = new VirtioSerial(site.board.ctx, {
        maxPorts: num(props.max_ports),
        emergencyWrite: props["emergency-write"] === true,
        ...common(props),
      });
      attach(site, order, device);
      site.addSerialBus(config.id, device);
    },
  },
  {
    type: virtioScsiType,
    make(site, order) {
      const { props, config } = order;
      if (num(props.num_queues) !== 1)
        throw new VmError("device/invalid-property", "the device has one request queue: num_queues=1");
      const device = new VirtioScsi(site.board.ctx, {
        queueSize: queueSize("virtqueue_size", num(props.virtqueue_size)!),
        maxSectors: within("max_sectors", num(props.max_sectors)!, 1, 0xffff),
        cmdPerLun: within("cmd_per_lun", num(props.cmd_per_lun)!, 1, 1024),
        ...common(props),
      });
      const devfn = attach(site, order, device);
      site.addScsiBus(config.id, device, devfn);
    },
  },
  { type: scsiHdType, make: (site, order) => addUnit(site, order, false) },
  { type: scsiCdType, make: (site, order) => addUnit(site, order, true) },
  { type: virtconsoleType, make: (site, order) => addPort(site, order, true) },
  { type: virtserialportType, make: (site, order) => addPort(site, order, false) },
];

function addUnit(site: DeviceSite<SiteBoard>, { type, props: p, config }: Order, cdrom: boolean): void {
  const { host, devfn } = site.bus(type, config).scsi!;
  within("channel", num(p.channel)!, 0, 0);
  const lun = within("lun", num(p.lun) ?? 0, 0, 255);
  const taken = (target: number) => host.units.some((u) => u.target === target && u.lun === lun);
  let target = num(p["scsi-id"]);
  if (target === undefined) for (target = 0; taken(target); ) target++;
  within("scsi-id", target, 0, 255);
  if (taken(target)) throw new VmError("device/invalid-property", `SCSI target ${target} has a unit ${lun} already`);
  const id = config.id ?? `${type.name}${host.units.length}`;
  const drive = site.drive(p.drive) ?? (cdrom ? site.emptyDrive(id, "cdrom") : undefined);
  if (!drive) throw new VmError("device/invalid-property", "drive property not set");
  if (!cdrom && !drive.backend) throw new VmError("device/invalid-property", "Device needs media, but drive is empty");
  if (!cdrom && drive.media === "cdrom")
    throw new VmError("device/invalid-property", "scsi-hd cannot use a drive with media=cdrom");
  const common = {
    target,
    lun,
    drive,
    serial: textOf("serial", p.serial, 36) ?? textOf("device_id", p.device_id, 36),
    vendor: textOf("vendor", p.vendor, 8),
    product: textOf("product", p.product, 16),
    version: textOf("ver", p.ver, 4),
  };
  const block = num(p.logical_block_size) ?? 512;
  if (!cdrom && block !== 512 && block !== 4096)
    throw new VmError("device/invalid-property", `logical_block_size=${block}: 512 or 4096`);
  host.addUnit(
    cdrom
      ? new ScsiCdrom(common)
      : new ScsiDisk({
          ...common,
          blockBytes: block,
          rotationRate: num(p.rotation_rate),
          wwn: p.wwn === undefined ? undefined : BigInt(p.wwn as number),
        }),
  );
  site.bootIndex(p.bootindex, BootPath.scsi(devfn >> 3, devfn & 7, target, lun));
}

function addPort(site: DeviceSite<SiteBoard>, { type, props, config }: Order, console: boolean): void {
  const bus = site.bus(type, config);
  bus.serial!.addPort({
    nr: num(props.nr),
    id: config.id,
    name: props.name === undefined ? undefined : String(props.name),
    console,
    chardev: site.chardev(props.chardev),
  });
}

/** Sources of randomness that are the host's own. */
const HOST_RANDOM = ["/dev/urandom", "/dev/random"];

/** @throws VmError when the object is not there, or names a file that this version does not read */
export function checkRng(site: DeviceSite<SiteBoard>, id: string): void {
  const object = site.board.config.objects.find((o) => o.id === id);
  if (!object) throw new VmError("device/invalid-property", `Device '${id}' not found`);
  const file = Object.hasOwn(object.props, "filename") ? object.props.filename! : HOST_RANDOM[0]!;
  if (object.type === "rng-random" && !HOST_RANDOM.includes(file))
    throw new VmError("option/unsupported", `${object.origin}: filename=${file} is not supported; use /dev/urandom`);
}

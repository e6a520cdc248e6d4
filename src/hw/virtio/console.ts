/**
 * virtio console device (virtio 1.2 §5.3) with several ports: `virtio-serial-pci` as the bus, `virtconsole` and
 * `virtserialport` as what plugs into it, each over a Chardev.
 *
 * Port 0 is a console's: it works without the multiport feature. Data for the guest waits in the chardev while the guest
 * has no buffers or has not opened the port; data from the guest always leaves its buffers, the chardev buffers or drops.
 *
 * Not emulated: the console's size (cols, rows), which no Chardev tells.
 */
import { VmError } from "../../base/errors.js";
import type { Chardev } from "../../host/chardev.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceProperty, DeviceType } from "../core/device-type.js";
import { get32, put32, VirtioDevice } from "./device.js";
import { VirtioPci, type VirtioPciOptions, virtioCommonProperties, virtioPciProperties } from "./pci.js";
import type { VirtQueue } from "./queue.js";
import { featureBits, VirtioId } from "./spec.js";

/** Feature bits (§5.3.3). */
export const ConsoleFeature = { multiport: 1, emergencyWrite: 2 } as const;

/** Configuration layout (§5.3.4). */
const Config = { maxPorts: 4, emergencyWrite: 8, bytes: 12 } as const;

/** Control messages (§5.3.6.2). */
export const ConsoleEvent = {
  deviceReady: 0,
  portAdd: 1,
  portRemove: 2,
  portReady: 3,
  consolePort: 4,
  resize: 5,
  portOpen: 6,
  portName: 7,
} as const;

const QUEUE_SIZE = 128;
const CONTROL_QUEUE_SIZE = 32;
const CONTROL_IN = 2;
const MESSAGE_BYTES = 8;
const DEFAULT_MAX_PORTS = 31;
const LIMIT_MAX_PORTS = 31;
/** Control messages that wait for the guest's buffers; later ones are lost. */
const MAX_WAITING_MESSAGES = 256;
/** Bytes of one chain that are passed on; the rest is lost. */
const MAX_CHAIN_BYTES = 1 << 20;
const PIECE_BYTES = 65536;
/** How much a chardev is told there is room for at a time. */
const MAX_ROOM_BYTES = 65536;

export interface VirtioPortOptions {
  /** Number on the device; default the next free one (0 only for consoles). */
  nr?: number | undefined;
  id?: string | undefined;
  /** How the guest finds it: /dev/virtio-ports/NAME. */
  name?: string | undefined;
  /** virtconsole rather than virtserialport. */
  console: boolean;
  chardev?: Chardev | undefined;
}

export interface VirtioSerialOptions {
  /** 1 to 31; default 31. */
  maxPorts?: number | undefined;
  /** Offer writing single characters through configuration space; default on. */
  emergencyWrite?: boolean | undefined;
  indirectDesc?: boolean | undefined;
  eventIdx?: boolean | undefined;
}

/** One port: a byte stream each way. */
export class VirtioSerialPort {
  /** The guest has it open. */
  guestOpen = false;
  /** The outside is there. */
  hostOpen = true;
  /** Called when the guest opens or closes it: QMP VSERPORT_CHANGE. */
  onGuestOpen: (open: boolean) => void = () => {};

  constructor(
    readonly nr: number,
    readonly options: VirtioPortOptions,
  ) {}
}

/** The device; a transport carries it, ports plug into it. */
export class VirtioSerial extends VirtioDevice {
  override readonly virtioId = VirtioId.console;
  readonly maxPorts: number;
  private readonly ports = new Map<number, VirtioSerialPort>();
  private ready = false;
  private messages: Uint8Array[] = [];
  private readonly inQueues: VirtQueue[] = [];

  /** @throws VmError "device/invalid-property" */
  constructor(ctx: DeviceContext, options: VirtioSerialOptions = {}) {
    const maxPorts = options.maxPorts ?? DEFAULT_MAX_PORTS;
    if (!(Number.isInteger(maxPorts) && maxPorts >= 1 && maxPorts <= LIMIT_MAX_PORTS))
      throw new VmError("device/invalid-property", `virtio-serial: max_ports=${maxPorts}: 1 to ${LIMIT_MAX_PORTS}`);
    let features = 0n;
    if (maxPorts > 1) features |= featureBits(ConsoleFeature.multiport);
    if (options.emergencyWrite ?? true) features |= featureBits(ConsoleFeature.emergencyWrite);
    super(ctx, "virtio-serial", features, new Uint8Array(Config.bytes), options);
    this.maxPorts = maxPorts;
    put32(this.config, Config.maxPorts, maxPorts);
    for (let nr = 0; nr < maxPorts; nr++) {
      this.inQueues.push(this.addQueue(QUEUE_SIZE, () => this.roomAgain(nr)));
      this.addQueue(QUEUE_SIZE, (q) => this.fromGuest(nr, q));
      if (nr === 0 && maxPorts > 1) {
        this.addQueue(CONTROL_QUEUE_SIZE, () => this.sendMessages());
        this.addQueue(CONTROL_QUEUE_SIZE, (q) => this.control(q));
      }
    }
  }

  private get multiport(): boolean {
    return this.has(ConsoleFeature.multiport);
  }

  // Ports.

  /**
   * Plugs a port in, also while the guest runs.
   * @throws VmError "device/invalid-property" when the number is taken, reserved or too high, or the name is taken
   */
  addPort(options: VirtioPortOptions): VirtioSerialPort {
    const what = options.console ? "virtconsole" : "virtserialport";
    const nr = options.nr ?? this.freeNumber(options.console);
    if (!(Number.isInteger(nr) && nr >= 0 && nr < this.maxPorts))
      throw new VmError("device/invalid-property", `${what}: nr=${nr}: the bus has ports 0 to ${this.maxPorts - 1}`);
    if (nr === 0 && !options.console) throw new VmError("device/invalid-property", `${what}: port 0 is reserved for virtconsole`);
    if (this.ports.has(nr)) throw new VmError("device/invalid-property", `${what}: port ${nr} is in use`);
    for (const p of this.ports.values())
      if (options.name && p.options.name === options.name)
        throw new VmError("device/invalid-property", `${what}: a port named "${options.name}" is there already`);
    const port = new VirtioSerialPort(nr, options);
    port.hostOpen = options.chardev !== undefined;
    this.ports.set(nr, port);
    this.attach(port);
    if (this.ready) this.send(port.nr, ConsoleEvent.portAdd, 1);
    return port;
  }

  /** Unplugs a port. */
  removePort(nr: number): void {
    const port = this.ports.get(nr);
    if (!port) return;
    port.options.chardev?.attach(undefined);
    this.ports.delete(nr);
    if (this.ready) this.send(nr, ConsoleEvent.portRemove, 1);
  }

  portList(): readonly VirtioSerialPort[] {
    return [...this.ports.values()];
  }

  private freeNumber(console: boolean): number {
    let nr = console ? 0 : 1;
    while (this.ports.has(nr)) nr++;
    return nr;
  }

  private attach(port: VirtioSerialPort): void {
    port.options.chardev?.attach({
      canReceive: () => this.room(port),
      receive: (data) => this.toGuest(port, data),
      event: (event) => {
        if (event !== "break") this.setHostOpen(port, event === "opened");
      },
    });
  }

  private setHostOpen(port: VirtioSerialPort, open: boolean): void {
    if (port.hostOpen === open) return;
    port.hostOpen = open;
    if (this.ready) this.send(port.nr, ConsoleEvent.portOpen, open ? 1 : 0);
  }

  // Data.

  private room(port: VirtioSerialPort): number {
    if (!this.driverOk || !this.dmaAllowed) return 0;
    if (this.multiport ? !port.guestOpen : port.nr !== 0) return 0;
    const queue = this.inQueues[port.nr]!;
    let room = queue.writableBytes(MAX_ROOM_BYTES);
    if (room === 0) {
      queue.setNotification(true);
      room = queue.writableBytes(MAX_ROOM_BYTES);
    }
    return room;
  }

  private toGuest(port: VirtioSerialPort, data: Uint8Array): void {
    if (!this.driverOk || !this.dmaAllowed) return;
    const queue = this.inQueues[port.nr]!;
    let done = 0;
    for (let budget = queue.size; budget > 0 && done < data.length; budget--) {
      const chain = queue.pop();
      if (!chain) break;
      const n = chain.writable.write(0, data.subarray(done));
      done += n;
      queue.push(chain, n);
    }
    if (done > 0) this.interruptSoon(queue);
  }

  private roomAgain(nr: number): void {
    const port = this.ports.get(nr);
    if (!port) return;
    this.inQueues[nr]!.setNotification(false);
    port.options.chardev?.resume();
    // Nothing came, or it did not use up the room: the next kick is of interest only when the room runs out.
    this.inQueues[nr]!.setNotification(true);
  }

  private fromGuest(nr: number, queue: VirtQueue): void {
    const port = this.ports.get(nr);
    const chardev = port?.hostOpen ? port.options.chardev : undefined;
    let done = 0;
    this.drain(queue, (chain) => {
      const total = Math.min(chain.readable.total, MAX_CHAIN_BYTES);
      if (chain.readable.total > total) this.ctx.trace.guestError(this.name, () => `${chain.readable.total} bytes in one chain`);
      for (let at = 0; chardev && at < total; at += PIECE_BYTES) {
        const bytes = new Uint8Array(Math.min(PIECE_BYTES, total - at));
        chain.readable.read(at, bytes);
        chardev.write(bytes);
      }
      queue.push(chain, 0);
      done++;
    });
    if (done > 0) this.interrupt(queue);
  }

  // Control messages.

  private control(queue: VirtQueue): void {
    let done = 0;
    const message = new Uint8Array(MESSAGE_BYTES);
    this.drain(queue, (chain) => {
      if (chain.readable.read(0, message) === MESSAGE_BYTES) {
        const value = message[6]! | (message[7]! << 8);
        this.message(get32(message, 0), message[4]! | (message[5]! << 8), value);
      } else this.ctx.trace.guestError(this.name, () => `control message of ${chain.readable.total} bytes`);
      queue.push(chain, 0);
      done++;
    });
    if (done > 0) this.interrupt(queue);
  }

  private message(nr: number, event: number, value: number): void {
    if (event === ConsoleEvent.deviceReady) {
      this.ready = value === 1;
      if (this.ready) for (const port of this.ports.values()) this.send(port.nr, ConsoleEvent.portAdd, 1);
      return;
    }
    const port = this.ports.get(nr);
    if (!port) {
      this.ctx.trace.guestError(this.name, () => `control message ${event} for port ${nr}`);
      return;
    }
    switch (event) {
      case ConsoleEvent.portReady:
        if (value !== 1) {
          this.ctx.trace.guestError(this.name, () => `the guest could not set up port ${nr}`);
          return;
        }
        if (port.options.console) this.send(nr, ConsoleEvent.consolePort, 1);
        if (port.options.name) this.send(nr, ConsoleEvent.portName, 1, port.options.name);
        if (port.hostOpen) this.send(nr, ConsoleEvent.portOpen, 1);
        return;
      case ConsoleEvent.portOpen:
        this.setGuestOpen(port, value === 1);
        return;
      default:
        this.ctx.trace.guestError(this.name, () => `control message ${event}`);
    }
  }

  private setGuestOpen(port: VirtioSerialPort, open: boolean): void {
    if (port.guestOpen === open) return;
    port.guestOpen = open;
    port.onGuestOpen(open);
    if (open) port.options.chardev?.resume();
  }

  private send(nr: number, event: number, value: number, text = ""): void {
    if (!this.multiport) return;
    if (this.messages.length >= MAX_WAITING_MESSAGES) {
      this.ctx.trace.guestError(this.name, "the guest takes no control messages");
      return;
    }
    const bytes = new Uint8Array(MESSAGE_BYTES + (text ? text.length + 1 : 0));
    put32(bytes, 0, nr);
    bytes[4] = event;
    bytes[6] = value;
    for (let i = 0; i < text.length; i++) bytes[MESSAGE_BYTES + i] = text.charCodeAt(i);
    this.messages.push(bytes);
    this.sendMessages();
  }

  private sendMessages(): void {
    const queue = this.queues[CONTROL_IN];
    if (!queue || !this.multiport || !this.dmaAllowed || !queue.usable) return;
    let done = 0;
    while (this.messages.length > 0) {
      const chain = queue.pop();
      if (!chain) break;
      queue.push(chain, chain.writable.write(0, this.messages.shift()!));
      done++;
    }
    if (done > 0) this.interrupt(queue);
  }

  // Device events.

  protected override onStatus(had: number): void {
    const started = this.status & ~had & 4;
    if (!started) return;
    const first = this.ports.get(0);
    // Without control messages the only port is open as soon as there is a driver.
    if (first && !this.multiport) {
      first.guestOpen = true;
      first.onGuestOpen(true);
      first.options.chardev?.resume();
    }
  }

  protected override onReset(): void {
    this.ready = false;
    this.messages = [];
    for (const port of this.ports.values()) {
      if (!port.guestOpen) continue;
      port.guestOpen = false;
      port.onGuestOpen(false);
    }
  }

  protected override onConfigWrite(offset: number, size: number, value: number): void {
    if (offset !== Config.emergencyWrite) {
      super.onConfigWrite(offset, size, value);
      return;
    }
    for (const port of this.ports.values())
      if (port.options.console) {
        port.options.chardev?.write(Uint8Array.of(value & 255));
        return;
      }
  }

  protected override saveDevice(): DeviceState {
    return {
      ready: this.ready,
      messages: this.messages.map((m) => m.slice()),
      ports: [...this.ports.values()].map((p) => ({ nr: p.nr, guestOpen: p.guestOpen, hostOpen: p.hostOpen })),
    };
  }

  protected override restoreDevice(state: DeviceState): void {
    this.ready = state.ready as boolean;
    this.messages = (state.messages as Uint8Array[]).slice(0, MAX_WAITING_MESSAGES).map((m) => m.slice());
    for (const saved of state.ports as { nr: number; guestOpen: boolean; hostOpen: boolean }[]) {
      const port = this.ports.get(saved.nr);
      if (!port) continue;
      port.guestOpen = saved.guestOpen;
      // The guest knows the outside as it was: tell it what has changed.
      if (this.ready && saved.hostOpen !== port.hostOpen) this.queueOpen(port);
      if (port.guestOpen) this.kickLater(this.inQueues[port.nr]!.index);
    }
  }

  private queueOpen(port: VirtioSerialPort): void {
    const bytes = new Uint8Array(MESSAGE_BYTES);
    put32(bytes, 0, port.nr);
    bytes[4] = ConsoleEvent.portOpen;
    bytes[6] = port.hostOpen ? 1 : 0;
    this.messages.push(bytes);
    this.kickLater(CONTROL_IN);
  }

  override dispose(): void {
    for (const port of this.ports.values()) port.options.chardev?.attach(undefined);
    super.dispose();
  }
}

/** The bus in a PCI slot; add ports to `device`. */
export function createVirtioSerialPci(
  ctx: DeviceContext,
  options: VirtioSerialOptions & VirtioPciOptions = {},
): { pci: VirtioPci; device: VirtioSerial } {
  const device = new VirtioSerial(ctx, options);
  return { pci: new VirtioPci(ctx, virtioSerialType.name, device, { ...options, vectors: options.vectors ?? 2 }), device };
}

const serialProperties: readonly DeviceProperty[] = [
  { name: "max_ports", type: "uint32", default: DEFAULT_MAX_PORTS, description: "ports that can be plugged in, 1 to 31" },
  { name: "emergency-write", type: "bool", default: true, description: "characters through configuration space" },
];

export const virtioSerialType: DeviceType = {
  name: "virtio-serial-pci",
  aliases: ["virtio-serial", "virtio-serial-pci-transitional"],
  bus: "pci",
  category: "input",
  description: "virtio serial bus",
  properties: [...serialProperties, ...virtioPciProperties(2)],
};

export const virtioSerialMmioType: DeviceType = {
  name: "virtio-serial-device",
  aliases: [],
  bus: "virtio",
  category: "input",
  description: "virtio serial bus on a virtio-mmio bus",
  properties: [...serialProperties, ...virtioCommonProperties],
};

const portProperties: readonly DeviceProperty[] = [
  { name: "chardev", type: "chardev", default: undefined, description: "id of the character backend" },
  { name: "name", type: "str", default: undefined, description: "name in the guest's /dev/virtio-ports" },
  { name: "nr", type: "uint32", default: undefined, description: "port number; default the next free one" },
];

export const virtconsoleType: DeviceType = {
  name: "virtconsole",
  aliases: [],
  bus: "virtio-serial",
  category: "input",
  description: "console on a virtio serial bus (hvc)",
  properties: portProperties,
};

export const virtserialportType: DeviceType = {
  name: "virtserialport",
  aliases: [],
  bus: "virtio-serial",
  category: "input",
  description: "byte channel on a virtio serial bus",
  properties: portProperties,
};

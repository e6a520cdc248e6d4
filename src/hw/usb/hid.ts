/**
 * usb-tablet, usb-mouse, usb-kbd.
 * Sources: USB Device Class Definition for Human Interface Devices 1.11; HID Usage Tables 1.12, pages 1, 7, 9.
 */
import { type InputDevice, type InputHub, POINTER_MAX } from "../../ui/input.js";
import type { DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import { HID_USAGES } from "./hid-usages.js";
import { deviceDescriptor, UsbDevice, UsbPid, type UsbResult, type UsbSetup } from "./usb-device.js";

const VENDOR = 0x0627;
const PRODUCT = 1;
const MAX_PACKET = 8;
/** Reports that wait for the guest; then movement is added up and keys are dropped. */
const MAX_REPORTS = 16;
const Hid = { getReport: 1, getIdle: 2, getProtocol: 3, setReport: 9, setIdle: 10, setProtocol: 11 } as const;
const DESCRIPTOR_REPORT = 0x22;
const DESCRIPTOR_HID = 0x21;

/** Buttons, absolute X and Y, wheel. */
const TABLET_REPORT = [
  0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, 0x05, 0x09, 0x19, 0x01, 0x29, 0x03, 0x15, 0x00, 0x25, 0x01, 0x95,
  0x03, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x05, 0x81, 0x01, 0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x00, 0x26, 0xff,
  0x7f, 0x35, 0x00, 0x46, 0xff, 0x7f, 0x75, 0x10, 0x95, 0x02, 0x81, 0x02, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45,
  0x00, 0x75, 0x08, 0x95, 0x01, 0x81, 0x06, 0xc0, 0xc0,
];
/** Buttons, relative X, Y and wheel. */
const MOUSE_REPORT = [
  0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, 0x05, 0x09, 0x19, 0x01, 0x29, 0x05, 0x15, 0x00, 0x25, 0x01, 0x95,
  0x05, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x03, 0x81, 0x01, 0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x09, 0x38, 0x15, 0x81,
  0x25, 0x7f, 0x75, 0x08, 0x95, 0x03, 0x81, 0x06, 0xc0, 0xc0,
];
/** The boot keyboard: modifiers, six keys, five lights. */
const KEYBOARD_REPORT = [
  0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, 0x75, 0x01, 0x95, 0x08, 0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01, 0x81,
  0x02, 0x95, 0x01, 0x75, 0x08, 0x81, 0x01, 0x95, 0x05, 0x75, 0x01, 0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02, 0x95, 0x01,
  0x75, 0x03, 0x91, 0x01, 0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x25, 0xff, 0x05, 0x07, 0x19, 0x00, 0x29, 0xff, 0x81, 0x00, 0xc0,
];

/** Configuration, interface, HID and endpoint descriptors. `boot`: subclass 1, and protocol. */
function configuration(report: readonly number[], protocol: number, interval: number): number[] {
  const boot = protocol > 0 ? 1 : 0;
  return [
    ...[9, 2, 34, 0, 1, 1, 0, 0xa0, 50],
    ...[9, 4, 0, 0, 1, 3, boot, protocol, 0],
    ...[9, DESCRIPTOR_HID, 1, 0, 0, 1, DESCRIPTOR_REPORT, report.length & 255, report.length >> 8],
    ...[7, 5, 0x81, 3, MAX_PACKET, 0, interval],
  ];
}

/** What the three have in common: reports in order, by the interrupt endpoint or GET_REPORT. */
abstract class HidDevice extends UsbDevice {
  private readonly reports: number[][] = [];
  private idle = 0;
  private protocol = 1;
  protected abstract readonly reportDescriptor: readonly number[];

  constructor(product: string, report: readonly number[], protocol: number, interval: number, id: string | undefined) {
    super(
      {
        device: deviceDescriptor(VENDOR, PRODUCT),
        configuration: configuration(report, protocol, interval),
        strings: ["QEMU", product, "1"],
      },
      id,
    );
  }

  /** The state as a report. */
  protected abstract current(): number[];
  /** A report of the host: lights. */
  protected setReport(_data: Uint8Array): void {}
  protected abstract device: InputDevice;

  get listening(): boolean {
    return this.configuration !== 0;
  }

  protected push(report: number[]): void {
    if (this.configuration === 0 || this.reports.length >= MAX_REPORTS) return;
    this.reports.push(report);
    this.onWork();
  }

  protected get last(): number[] | undefined {
    return this.reports.at(-1);
  }

  protected override onConfigured(): void {
    this.reports.length = 0;
  }

  protected override transfer(pid: number, endpoint: number, bytes: Uint8Array): UsbResult {
    if (pid !== UsbPid.in || endpoint !== 1) return "stall";
    const report = this.reports.shift();
    if (!report) return "nak";
    if (report.length > bytes.length) return "babble";
    bytes.set(report);
    return report.length;
  }

  protected override classRequest(s: UsbSetup, data: Uint8Array): ArrayLike<number> | undefined {
    if (s.type === 0x81 && s.request === 6) {
      if (s.value >> 8 === DESCRIPTOR_REPORT) return this.reportDescriptor;
      if (s.value >> 8 === DESCRIPTOR_HID) return this.descriptors.configuration.slice(18, 27);
      return undefined;
    }
    if (s.type === 0xa1)
      switch (s.request) {
        case Hid.getReport:
          return this.current();
        case Hid.getIdle:
          return [this.idle];
        case Hid.getProtocol:
          return [this.protocol];
      }
    if (s.type === 0x21)
      switch (s.request) {
        case Hid.setReport:
          this.setReport(data);
          return [];
        case Hid.setIdle:
          this.idle = s.value >> 8;
          return [];
        case Hid.setProtocol:
          this.protocol = s.value & 1;
          return [];
      }
    return undefined;
  }

  attachInput(hub: InputHub): void {
    hub.add(this.device);
  }

  detachInput(hub: InputHub): void {
    hub.remove(this.device);
  }

  override save(): DeviceState {
    return { ...super.save(), reports: this.reports.map((r) => [...r]), idle: this.idle, protocol: this.protocol };
  }

  override restore(s: DeviceState): void {
    super.restore(s);
    this.reports.splice(0, this.reports.length, ...(s.reports as number[][]).slice(0, MAX_REPORTS));
    this.idle = s.idle as number;
    this.protocol = s.protocol as number;
  }
}

const limit = (v: number) => Math.max(-127, Math.min(127, Math.trunc(v) || 0));

export class UsbTablet extends HidDevice {
  readonly type = "usb-tablet";
  protected readonly reportDescriptor = TABLET_REPORT;
  private x = 0;
  private y = 0;
  private buttons = 0;

  constructor(id?: string) {
    super("QEMU USB Tablet", TABLET_REPORT, 0, 10, id);
  }

  protected override device: InputDevice = this.input();

  private input(): InputDevice {
    const tablet = this;
    return {
      name: "QEMU HID Tablet",
      get active() {
        return tablet.listening;
      },
      moveTo: (x, y, dz, buttons) => tablet.moveTo(x, y, dz, buttons),
    };
  }

  private moveTo(x: number, y: number, dz: number, buttons: number): void {
    const clamp = (v: number) => Math.max(0, Math.min(POINTER_MAX, Math.trunc(v) || 0));
    const changed = (buttons & 7) !== this.buttons || dz !== 0;
    this.x = clamp(x);
    this.y = clamp(y);
    this.buttons = buttons & 7;
    const report = this.report(dz);
    // A position that has not been read is overtaken; a click is not.
    const { last } = this;
    if (!changed && last && last[0] === this.buttons && last[5] === 0) last.splice(0, 6, ...report);
    else this.push(report);
  }

  private report(dz: number): number[] {
    return [this.buttons, this.x & 255, this.x >> 8, this.y & 255, this.y >> 8, limit(-dz) & 255];
  }

  protected override current(): number[] {
    return this.report(0);
  }
}

export class UsbMouse extends HidDevice {
  readonly type = "usb-mouse";
  protected readonly reportDescriptor = MOUSE_REPORT;
  private buttons = 0;

  constructor(id?: string) {
    super("QEMU USB Mouse", MOUSE_REPORT, 2, 10, id);
  }

  protected override device: InputDevice = this.input();

  private input(): InputDevice {
    const mouse = this;
    return {
      name: "QEMU HID Mouse",
      get active() {
        return mouse.listening;
      },
      moveBy: (dx, dy, dz, buttons) => {
        mouse.buttons = buttons & 31;
        mouse.push([mouse.buttons, limit(dx) & 255, limit(dy) & 255, limit(-dz) & 255]);
      },
    };
  }

  protected override current(): number[] {
    return [this.buttons, 0, 0, 0];
  }
}

export class UsbKeyboard extends HidDevice {
  readonly type = "usb-kbd";
  protected readonly reportDescriptor = KEYBOARD_REPORT;
  private modifiers = 0;
  private readonly keys: number[] = [];
  /** Num, caps, scroll lock as the guest shows them. */
  lights = 0;

  constructor(id?: string) {
    super("QEMU USB Keyboard", KEYBOARD_REPORT, 1, 10, id);
  }

  protected override device: InputDevice = this.input();

  private input(): InputDevice {
    const keyboard = this;
    return {
      name: "QEMU HID Keyboard",
      get active() {
        return keyboard.listening;
      },
      key: (qcode, down) => keyboard.key(qcode, down),
    };
  }

  private key(qcode: string, down: boolean): void {
    const usage = HID_USAGES.get(qcode);
    if (usage === undefined) return;
    if (usage >= 0xe0) {
      const bit = 1 << (usage - 0xe0);
      this.modifiers = down ? this.modifiers | bit : this.modifiers & ~bit;
    } else {
      const at = this.keys.indexOf(usage);
      if (down === at >= 0) return;
      if (down) this.keys.push(usage);
      else this.keys.splice(at, 1);
    }
    this.push(this.current());
  }

  protected override current(): number[] {
    // More than six: roll-over.
    const six = this.keys.length > 6 ? new Array<number>(6).fill(1) : [...this.keys, 0, 0, 0, 0, 0, 0].slice(0, 6);
    return [this.modifiers, 0, ...six];
  }

  protected override setReport(data: Uint8Array): void {
    this.lights = (data[0] ?? 0) & 31;
  }

  protected override onConfigured(): void {
    super.onConfigured();
    this.modifiers = 0;
    this.keys.length = 0;
  }
}

const type = (name: string, description: string): DeviceType => ({
  name,
  aliases: [],
  bus: "usb",
  category: "input",
  description,
  properties: [{ name: "port", type: "str", default: undefined, description: "root port, 1 or 2; default the first free" }],
});

export const usbTabletType = type("usb-tablet", "absolute pointer");
export const usbMouseType = type("usb-mouse", "mouse");
export const usbKeyboardType = type("usb-kbd", "keyboard");

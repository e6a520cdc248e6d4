/** Where keys and pointers of a display go: to the devices that the machine has for them. */

/** Held buttons: left 1, right 2, middle 4, side 8, extra 16. */
export type PointerButtons = number;

/** Absolute positions run from 0 to this over the screen's width and height. */
export const POINTER_MAX = 0x7fff;

/** A keyboard or pointer device's own end. */
export interface InputDevice {
  readonly name: string;
  /** Key by its qcode. */
  key?(qcode: string, down: boolean): void;
  /** Movement in pixels (x right, y down), wheel steps (positive towards the user). */
  moveBy?(dx: number, dy: number, dz: number, buttons: PointerButtons): void;
  moveTo?(x: number, y: number, dz: number, buttons: PointerButtons): void;
  /** Whether the guest's driver listens. Absent: always. */
  readonly active?: boolean;
}

export class InputHub {
  private readonly devices: InputDevice[] = [];

  /** The device added last that can and whose driver listens is the one that gets events. */
  add(device: InputDevice): void {
    this.devices.unshift(device);
  }

  remove(device: InputDevice): void {
    const i = this.devices.indexOf(device);
    if (i >= 0) this.devices.splice(i, 1);
  }

  private find(can: (d: InputDevice) => unknown): InputDevice | undefined {
    return this.devices.find((d) => can(d) && d.active !== false) ?? this.devices.find((d) => can(d));
  }

  private get pointer(): InputDevice | undefined {
    return this.find((d) => d.moveTo ?? d.moveBy);
  }

  /** Whether the pointer in use takes positions rather than movements. */
  get absolute(): boolean {
    return this.pointer?.moveTo !== undefined;
  }

  get hasKeyboard(): boolean {
    return this.devices.some((d) => d.key);
  }

  key(qcode: string, down: boolean): void {
    this.find((d) => d.key)?.key?.(qcode, down);
  }

  moveBy(dx: number, dy: number, dz: number, buttons: PointerButtons): void {
    this.pointer?.moveBy?.(dx, dy, dz, buttons);
  }

  moveTo(x: number, y: number, dz: number, buttons: PointerButtons): void {
    this.pointer?.moveTo?.(x, y, dz, buttons);
  }

  /** As `info mice` shows them; the first is the one in use. */
  pointers(): { readonly name: string; readonly absolute: boolean; readonly current: boolean }[] {
    const now = this.pointer;
    return this.devices
      .filter((d) => d.moveTo || d.moveBy)
      .map((d) => ({ name: d.name, absolute: d.moveTo !== undefined, current: d === now }));
  }
}

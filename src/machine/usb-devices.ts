/** `-device piix3-usb-uhci` and what plugs into it. */
import { VmError } from "../base/errors.js";
import type { DeviceType } from "../hw/core/device-type.js";
import { UsbKeyboard, UsbMouse, UsbTablet, usbKeyboardType, usbMouseType, usbTabletType } from "../hw/usb/hid.js";
import { Uhci, uhciType } from "../hw/usb/uhci.js";
import type { SiteBoard } from "./pc-device-site.js";
import type { Maker } from "./pc-devices.js";

/** A human's device: into a port of its bus, and its events from the displays. */
function hid(type: DeviceType, create: (id: string | undefined) => UsbTablet | UsbMouse | UsbKeyboard): Maker<SiteBoard> {
  return {
    type,
    make(site, order) {
      const { usb } = site.bus(order.type, order.config);
      const { port } = order.props;
      if (port !== undefined && !/^[12]$/.test(String(port)))
        throw new VmError("device/invalid-property", `usb port ${port} (bus ${order.config.bus ?? "usb"}) not found: 1 or 2`);
      const device = create(order.config.id);
      if (usb!.plug(device, port === undefined ? -1 : Number(port) - 1) < 0)
        throw new VmError(
          "device/invalid-property",
          port === undefined ? "no free USB port: the controller has two, and there are no hubs" : `usb port ${port} is in use`,
        );
      if (site.board.inputs) device.attachInput(site.board.inputs);
    },
  };
}

export const USB_MAKERS: readonly Maker<SiteBoard>[] = [
  {
    type: uhciType,
    make(site, order) {
      const device = new Uhci(site.board.pciCtx, order.config.id);
      site.attachPci(device, order.props);
      site.addUsbBus(order.config.id, device);
    },
  },
  hid(usbTabletType, (id) => new UsbTablet(id)),
  hid(usbMouseType, (id) => new UsbMouse(id)),
  hid(usbKeyboardType, (id) => new UsbKeyboard(id)),
];
